//! The user's rustc: its sysroot, `core`'s own bitcode, and the libLLVM to use.
//!
//! Device code needs LLVM's C API in this process: it is rewritten between rustc
//! and the optimiser, which the programs `opt` and `llc` cannot do. So the search
//! is for a library, in this order: the one that `RADDLE_LLVM` names, the one in
//! rustc's sysroot, and any other on the machine that reads rustc's bitcode, that
//! is of the same major version or a newer one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;
use crate::llvm::Llvm;

/// The toolchain that runs this build.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// `rustc --print sysroot`.
    pub sysroot: PathBuf,
    /// `rustc -vV`: what tells compilers apart.
    pub version: String,
    /// The host triple.
    pub host: String,
    /// The major version of rustc's own LLVM.
    pub llvm_major: u32,
}

/// A library that was looked at and why it is not the one.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The file or folder.
    pub place: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// What the search for LLVM came to.
pub enum Search {
    /// This library.
    Found(&'static Llvm),
    /// None: what was looked at.
    Nothing(Vec<Rejected>),
}

/// The value of `RADDLE_LLVM` that stands for no LLVM at all.
const NO_LLVM: &str = "none";

impl Toolchain {
    /// Asks the rustc that cargo names (or the one on the path).
    pub fn detect() -> Result<Self, Error> {
        let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
        // At the same time: each takes the time in which rustc loads its libraries.
        let sysroot = start(&rustc, &["--print", "sysroot"])?;
        let version = start(&rustc, &["-vV"])?;
        let (sysroot, version) = (sysroot.finish()?, version.finish()?);
        let field = |name: &str| {
            version.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default()
        };
        let host = field("host: ").to_owned();
        let llvm = field("LLVM version: ");
        let llvm_major = llvm.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        Ok(Self { rustc, sysroot: PathBuf::from(sysroot.trim()), version, host, llvm_major })
    }

    /// Whether the user wants none of the LLVMs that may be there.
    pub fn is_llvm_refused() -> bool {
        std::env::var_os("RADDLE_LLVM").is_some_and(|value| value == NO_LLVM)
    }

    /// Looks for libLLVM and loads it.
    ///
    /// # Errors
    ///
    /// When the library that `RADDLE_LLVM` names does not load.
    pub fn find_llvm(&self) -> Result<Search, Error> {
        let mut rejected = Vec::new();
        match std::env::var_os("RADDLE_LLVM").filter(|value| !value.is_empty()) {
            Some(_) if Self::is_llvm_refused() => {
                let reason = format!("RADDLE_LLVM={NO_LLVM}: none is wanted");
                return Ok(Search::Nothing(vec![Rejected { place: PathBuf::new(), reason }]));
            }
            Some(path) => return Llvm::load(Path::new(&path)).map(Search::Found),
            None => {}
        }
        let own = self.own_places().into_iter().map(|place| (place, true));
        // Only asked for when rustc's own places have none: it runs programs.
        let others =
            std::iter::once_with(|| self.other_places()).flatten().map(|place| (place, false));
        for (place, is_own) in own.chain(others) {
            // The largest first: `libLLVM-22-rust-….so` may be a one-line linker script.
            let mut libraries: Vec<PathBuf> =
                files_in(&place).into_iter().filter(|path| is_llvm(path)).collect();
            libraries.sort_by_key(|path| std::fs::metadata(path).map_or(0, |m| m.len()));
            if libraries.is_empty() {
                rejected.push(Rejected { place, reason: "holds no libLLVM".to_owned() });
                continue;
            }
            for library in libraries.into_iter().rev() {
                match self.try_library(&library, is_own) {
                    Ok(llvm) => return Ok(Search::Found(llvm)),
                    Err(reason) => rejected.push(Rejected { place: library, reason }),
                }
            }
        }
        Ok(Search::Nothing(rejected))
    }

    /// Loads a library that was found, if it fits rustc; else says why not.
    fn try_library(&self, library: &Path, is_own: bool) -> Result<&'static Llvm, String> {
        if !is_own {
            // A name that tells an older version spares loading it.
            let named = version_in_name(library);
            let version = match named.filter(|&major| major < self.llvm_major) {
                Some(major) => major,
                None => Llvm::version_of(library).map_err(|error| error.to_string())?.0,
            };
            if version < self.llvm_major {
                return Err(format!(
                    "is LLVM {version}, which cannot read the bitcode of rustc's LLVM {}",
                    self.llvm_major
                ));
            }
        }
        let llvm = Llvm::load(library).map_err(|error| error.to_string())?;
        if !is_own {
            println!(
                "cargo::warning=raddle: rustc's sysroot has no libLLVM that loads; device code is made by {}",
                library.display()
            );
        }
        Ok(llvm)
    }

    /// Where rustc's own library lies.
    fn own_places(&self) -> [PathBuf; 2] {
        [
            self.sysroot.join("lib"),
            // Where rustup's component llvm-tools keeps the library of its programs.
            self.sysroot.join("lib/rustlib").join(&self.host).join("lib"),
        ]
    }

    /// Where other libraries may lie: what LLVM's own programs tell, and the folders
    /// that distributions use.
    fn other_places(&self) -> Vec<PathBuf> {
        const NEWER_MAJORS: u32 = 4;
        const FOLDERS: [&str; 6] = [
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib/aarch64-linux-gnu",
            "/usr/lib64",
            "/usr/lib",
            "/usr/local/lib",
            "/opt/homebrew/opt/llvm/lib",
        ];
        let mut places = Vec::new();
        for major in self.llvm_major..=self.llvm_major + NEWER_MAJORS {
            places.extend(llvm_config(&format!("llvm-config-{major}")));
            places.push(format!("/usr/lib/llvm-{major}/lib").into());
            places.push(format!("/usr/lib/llvm/{major}/lib64").into());
            places.push(format!("/usr/lib64/llvm{major}/lib64").into());
            places.push(format!("/opt/homebrew/opt/llvm@{major}/lib").into());
        }
        places.extend(llvm_config("llvm-config"));
        places.extend(FOLDERS.map(PathBuf::from));
        let mut seen = std::collections::HashSet::new();
        places.retain(|place| place.is_dir() && seen.insert(place.clone()));
        places
    }

    /// The bitcode modules that a library of the sysroot carries: `core`, `std`.
    pub fn library_bitcode(&self, library: &str) -> Result<Vec<Vec<u8>>, Error> {
        let folder = self.sysroot.join("lib/rustlib").join(&self.host).join("lib");
        let rlib = files_in(&folder).into_iter().find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&format!("lib{library}-")) && name.ends_with(".rlib")
        });
        match rlib {
            Some(rlib) => archive_bitcode(&rlib),
            None => Ok(Vec::new()),
        }
    }
}

/// The library folder that LLVM's own configuration program tells.
fn llvm_config(program: &str) -> Option<PathBuf> {
    let output = Command::new(program).arg("--libdir").stderr(Stdio::null()).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.trim().is_empty()).then(|| PathBuf::from(folder.trim()))
}

/// Whether the file is a shared libLLVM: `libLLVM.so.22.1`, `libLLVM-22.so`,
/// `libLLVM.dylib`, but not `libLLVMCore.a`.
fn is_llvm(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let rest = name.strip_prefix("libLLVM").unwrap_or_default();
    rest.starts_with(['.', '-']) && (rest.contains(".so") || rest.ends_with(".dylib"))
}

/// The major version that the name of a library tells, behind its links.
fn version_in_name(path: &Path) -> Option<u32> {
    let real = path.canonicalize().ok()?;
    let name = real.file_name()?.to_string_lossy().into_owned();
    let digits = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse().ok()
    };
    ["libLLVM-", "libLLVM.so."].iter().find_map(|start| digits(name.strip_prefix(start)?))
}

/// A program that runs, and what it was called with.
struct Started {
    child: std::process::Child,
    tool: String,
}

fn start(program: &Path, args: &[&str]) -> Result<Started, Error> {
    let tool = format!("{} {}", program.display(), args.join(" "));
    let command = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match command {
        Ok(child) => Ok(Started { child, tool }),
        Err(error) => Err(Error::Tool { tool, reason: error.to_string() }),
    }
}

impl Started {
    fn finish(self) -> Result<String, Error> {
        let Self { child, tool } = self;
        let output = match child.wait_with_output() {
            Ok(output) => output,
            Err(error) => return Err(Error::Tool { tool, reason: error.to_string() }),
        };
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Error::Tool { tool, reason });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_libraries_are_told_from_others() {
        for name in
            ["libLLVM.so", "libLLVM-22.so.1", "libLLVM.so.22.1-rust-1.95.0", "libLLVM.dylib"]
        {
            assert!(is_llvm(Path::new(name)), "{name}");
        }
        for name in ["libLLVMCore.a", "libLLVMSupport.so", "libLTO.so", "LLVM.so"] {
            assert!(!is_llvm(Path::new(name)), "{name}");
        }
    }
}
