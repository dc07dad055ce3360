//! The user's rustc: its sysroot, its libLLVM, `core`'s own bitcode.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;

/// The toolchain that runs this build.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// `rustc --print sysroot`.
    pub sysroot: PathBuf,
    /// The host triple.
    pub host: String,
}

impl Toolchain {
    /// Asks the rustc that cargo names (or the one on the path).
    pub fn detect() -> Result<Self, Error> {
        let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        let sysroot = run(&rustc, &["--print", "sysroot"])?;
        let version = run(&rustc, &["-vV"])?;
        let host = version
            .lines()
            .find_map(|line| line.strip_prefix("host: "))
            .unwrap_or_default()
            .to_owned();
        Ok(Self { rustc, sysroot: PathBuf::from(sysroot.trim()), host })
    }

    /// The libLLVM to use: `RADDLE_LLVM` if set, else the one in the sysroot.
    pub fn find_llvm(&self) -> Result<PathBuf, Error> {
        if let Some(path) = std::env::var_os("RADDLE_LLVM") {
            return Ok(PathBuf::from(path));
        }
        let folder = self.sysroot.join("lib");
        let mut candidates: Vec<PathBuf> = files_in(&folder)
            .into_iter()
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with("libLLVM") && (name.contains(".so") || name.ends_with(".dylib"))
            })
            .collect();
        // `libLLVM-22-rust-….so` may be a one-line linker script; the real
        // library is the largest file.
        candidates.sort_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len()));
        candidates.pop().ok_or_else(|| Error::NoLlvm { sysroot: self.sysroot.clone() })
    }

    /// The bitcode modules that the sysroot's `core` library carries.
    pub fn core_bitcode(&self) -> Result<Vec<Vec<u8>>, Error> {
        let folder = self.sysroot.join("lib/rustlib").join(&self.host).join("lib");
        let rlib = files_in(&folder).into_iter().find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libcore-") && name.ends_with(".rlib")
        });
        match rlib {
            Some(rlib) => archive_bitcode(&rlib),
            None => Ok(Vec::new()),
        }
    }
}

fn run(program: &Path, args: &[&str]) -> Result<String, Error> {
    let tool = format!("{} {}", program.display(), args.join(" "));
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|e| Error::Tool { tool: tool.clone(), reason: e.to_string() })?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Tool { tool, reason });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// The `.llvmbc` sections of the objects in an archive.
fn archive_bitcode(path: &Path) -> Result<Vec<Vec<u8>>, Error> {
    use object::{Object as _, ObjectSection as _};
    let io = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
    let data = std::fs::read(path).map_err(io)?;
    let malformed = |e: object::Error| io(std::io::Error::other(e));
    let archive = object::read::archive::ArchiveFile::parse(&*data).map_err(malformed)?;
    let mut modules = Vec::new();
    for member in archive.members() {
        let bytes = member.map_err(malformed)?.data(&*data).map_err(malformed)?;
        // Beside the objects an rlib holds rustc's metadata.
        if !bytes.starts_with(b"\x7fELF") {
            continue;
        }
        let file = object::File::parse(bytes).map_err(malformed)?;
        if let Some(section) = file.section_by_name(".llvmbc") {
            let bitcode = section.data().map_err(malformed)?;
            if !bitcode.is_empty() {
                modules.push(bitcode.to_vec());
            }
        }
    }
    Ok(modules)
}
