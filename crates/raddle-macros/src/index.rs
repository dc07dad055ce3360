//! Reading `OUT_DIR/raddle/index.tsv`, what the device build left for the host
//! build. The format is in ARCHITECTURE.md, "The index".
//!
//! A stale or damaged index must never make the macro panic: rust-analyzer
//! expands whenever it likes. Lines that make no sense become a problem that is
//! reported like any other.

use std::path::Path;

/// What is known about the device build of the crate being compiled.
pub enum Index {
    /// The build script has not compiled kernels.
    Missing,
    /// The index is there but cannot be used.
    Unreadable(String),
    /// The device build ran.
    Built(Records),
}

/// The records of one index file.
#[derive(Debug, Default)]
pub struct Records {
    /// Compiled kernels.
    pub images: Vec<ImageRecord>,
    /// Kernels that cannot run on a GPU: path and message.
    pub errors: Vec<(String, String)>,
    /// What rustc said about the device crates that it refused.
    pub rustc: Vec<RefusedCrate>,
    /// Whether the user wants no device code.
    pub is_off: bool,
}

/// A device crate that rustc refused.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedCrate {
    /// The program whose kernels it holds; empty for the package's kernel files.
    pub program: String,
    /// rustc's errors.
    pub message: String,
}

/// One compiled form of a kernel.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageRecord {
    /// Module path below the crate, name and instance: `kernels::axpy.f32`.
    pub path: String,
    /// PTX target, such as `sm_80`.
    pub target: String,
    /// Entry name in the PTX.
    pub entry: String,
    /// The PTX file, absolute.
    pub file: String,
    /// Whether threads can wait for each other.
    pub synchronizes: bool,
    /// What an assembler made of it at build time.
    pub cubins: Vec<CubinRecord>,
}

/// Machine code of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct CubinRecord {
    /// The architecture, such as `sm_90`.
    pub architecture: String,
    /// CUDA version of the assembler.
    pub cuda: (u32, u32),
    /// The file, absolute.
    pub file: String,
}

impl Index {
    /// The index of the crate that rustc is compiling.
    pub fn of_this_crate() -> Self {
        match std::env::var_os("OUT_DIR") {
            Some(out_dir) => Self::read(&Path::new(&out_dir).join("raddle")),
            None => Self::Missing,
        }
    }

    /// The index in the folder `dir`.
    pub fn read(dir: &Path) -> Self {
        let file = dir.join("index.tsv");
        match std::fs::read_to_string(&file) {
            Ok(text) => match parse(&text, &dir.display().to_string()) {
                Ok(records) => Self::Built(records),
                Err(problem) => Self::Unreadable(format!("{}: {problem}", file.display())),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(format!("{}: {error}", file.display())),
        }
    }
}

impl Records {
    /// The images whose last path segment is `segment` (`axpy.f32`).
    pub fn images_of<'a>(&'a self, segment: &'a str) -> impl Iterator<Item = &'a ImageRecord> {
        self.images.iter().filter(move |image| last_segment(&image.path) == segment)
    }

    /// The errors whose last path segment is `segment`.
    pub fn errors_of<'a>(&'a self, segment: &'a str) -> impl Iterator<Item = &'a (String, String)> {
        self.errors.iter().filter(move |(path, _)| last_segment(path) == segment)
    }

    /// Why the device crate was refused that holds the kernels of the program `name`.
    pub fn refused_program(&self, name: &str) -> Option<&str> {
        let refused = self.rustc.iter().find(|refused| refused.program == name);
        refused.map(|refused| &*refused.message)
    }

    /// Why the device crate of the package's kernel files was refused.
    pub fn refused_files(&self) -> Option<&str> {
        self.refused_program("")
    }
}

/// Reads the records of `text`, an index in the folder `dir`.
pub fn parse(text: &str, dir: &str) -> Result<Records, String> {
    let mut records = Records::default();
    for (line, number) in text.lines().zip(1..) {
        let fields: Vec<String> = line.split('\t').map(unescape).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["image", path, target, entry, file, synchronizes @ ("0" | "1")] => {
                records.images.push(ImageRecord {
                    path: path.to_owned(),
                    target: target.to_owned(),
                    entry: entry.to_owned(),
                    file: format!("{dir}/{file}"),
                    synchronizes: synchronizes == "1",
                    cubins: Vec::new(),
                });
            }
            ["cubin", path, target, architecture, cuda, file] => {
                let mut images = records.images.iter_mut();
                let image = images.find(|image| image.path == path && image.target == target);
                let (Some(image), Some(cuda)) = (image, version(cuda)) else {
                    return Err(not_a_record(number));
                };
                image.cubins.push(CubinRecord {
                    architecture: architecture.to_owned(),
                    cuda,
                    file: format!("{dir}/{file}"),
                });
            }
            ["error", path, message] => records.errors.push((path.to_owned(), message.to_owned())),
            ["rustc", program, message] => records
                .rustc
                .push(RefusedCrate { program: program.to_owned(), message: message.to_owned() }),
            ["off"] => records.is_off = true,
            [""] => {}
            _ => return Err(not_a_record(number)),
        }
    }
    Ok(records)
}

fn not_a_record(line: u32) -> String {
    format!("line {line} is not a record of this version of raddle")
}

/// `13.0`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// Undoes `\t`, `\n` and `\\`; another escape stands for itself.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some(other)) => text.push(other),
            (c, _) => text.push(c),
        }
    }
    text
}
