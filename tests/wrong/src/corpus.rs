//! The programs: which there are, and what each expects.

use std::path::{Path, PathBuf};

/// What part of the build refuses a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The device build: a GPU cannot do it.
    Device,
    /// The macros or rustc, at the definition of kernels and types.
    Kernel,
    /// rustc, where kernels are launched.
    Launch,
}

impl Group {
    /// All groups.
    pub const ALL: [Self; 3] = [Self::Device, Self::Kernel, Self::Launch];

    /// Its folder, and the name of its package in the scratch workspace.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Kernel => "kernel",
            Self::Launch => "launch",
        }
    }
}

/// One program.
#[derive(Clone, Debug)]
pub struct Program {
    /// The group.
    pub group: Group,
    /// File name without `.rs`; for `device` also the kernel's name.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Its text.
    pub source: String,
}

/// An error that a program must cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Line of the error's place.
    pub line: usize,
    /// Parts of its message.
    pub parts: Vec<String>,
}

/// All programs below `folder`, by group and name.
///
/// ## Panics
///
/// When a folder or file cannot be read.
#[must_use]
pub fn read(folder: &Path) -> Vec<Program> {
    Group::ALL.into_iter().flat_map(|group| read_group(folder, group)).collect()
}

fn read_group(folder: &Path, group: Group) -> Vec<Program> {
    let folder = folder.join(group.name());
    let list = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = list.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    let program = |file: PathBuf| {
        let source =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let name = file.file_stem().expect("files have names").to_string_lossy().into_owned();
        Program { group, name, file, source }
    };
    files.into_iter().map(program).collect()
}

impl Program {
    /// Why what is reported is known not to be what the file says.
    #[must_use]
    pub fn gap(&self) -> Option<&str> {
        self.source.lines().find_map(|line| line.strip_prefix("//! gap: "))
    }

    /// The errors that the program must cause, in the order of their lines.
    #[must_use]
    pub fn expected(&self) -> Vec<Expected> {
        let lines = self.source.lines().zip(1..);
        if self.group != Group::Device {
            let mark = |(text, line): (&str, usize)| {
                let (_, part) = text.split_once("//~ ERROR")?;
                Some(Expected { line, parts: vec![part.trim().to_owned()] })
            };
            return lines.filter_map(mark).collect();
        }
        let header = format!("pub fn {}(", self.name);
        let is_kernel = |text: &str| text.starts_with(&header);
        let line = self.source.lines().position(is_kernel).map_or(0, |at| at + 1);
        let mut parts =
            vec![format!("kernel `kernels::{0}::{0}` cannot run on a GPU: ", self.name)];
        let stated = self.source.lines().filter_map(|text| text.strip_prefix("//! expect: "));
        parts.extend(stated.map(str::to_owned));
        for (_, here) in lines.filter(|(text, _)| text.contains("//~ HERE")) {
            parts.push(format!("{}.rs:{here}:", self.name));
        }
        vec![Expected { line, parts }]
    }
}
