//! Machine code that the driver assembled whole, read from the driver's own cache.
//!
//! For kernels with `wgmma` no call of the driver gives the machine code that it makes
//! (see [`assembler`](crate::assembler)), but the driver keeps it in a folder
//! (`CUDA_CACHE_PATH`, else `~/.nv/ComputeCache`), from where loading takes several times
//! as long as from ours. Its files are not documented, so that nothing is taken on trust:
//! a file counts only if it consists of a header with two lengths, a key of the first and
//! machine code of the second, if the key holds the very PTX for this very architecture,
//! and if the code is for NVIDIA GPUs and has the kernel. Where a driver writes other
//! files, none is found, and kernels are loaded through the driver as if this did not exist.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes before the key: a mark, then the lengths of key and code and a checksum.
const HEADER_BYTES: usize = 28;
const KEY_LENGTH_AT: usize = 4;
const CODE_LENGTH_AT: usize = 12;
/// What a key holds beside the PTX, at most: the driver's date, the architecture, options.
const KEY_MORE_BYTES: u64 = 1024;
/// Machine code for NVIDIA GPUs, in the header of an ELF file.
const EM_CUDA: u16 = 190;
/// Files that are looked at, at most.
const FILES_MAX: usize = 20_000;

/// The machine code that the driver made of `ptx` for an architecture, if its cache has
/// it: of several, which are those of older drivers, the latest.
pub(crate) fn find(ptx: &str, entry: &str, capability: (u32, u32)) -> Option<Vec<u8>> {
    find_in(&folder(&|name| std::env::var(name).ok())?, ptx, entry, capability)
}

/// The driver's folder, if its cache is on.
fn folder(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    if variable("CUDA_CACHE_DISABLE").is_some_and(|value| value != "0") {
        return None;
    }
    let below = |name: &str, rest: &[&str]| {
        let base = PathBuf::from(variable(name)?);
        Some(rest.iter().fold(base, |path, part| path.join(part)))
    };
    below("CUDA_CACHE_PATH", &[])
        .or_else(|| below("HOME", &[".nv", "ComputeCache"]))
        .or_else(|| below("APPDATA", &["NVIDIA", "ComputeCache"]))
}

fn find_in(folder: &Path, ptx: &str, entry: &str, capability: (u32, u32)) -> Option<Vec<u8>> {
    let mut latest: Option<(SystemTime, Vec<u8>)> = None;
    // Most files are ruled out by their length, without being opened.
    for (path, written) in files(folder, (HEADER_BYTES + ptx.len()) as u64) {
        let is_later = latest.as_ref().is_none_or(|(time, _)| written > *time);
        if is_later && let Some(code) = code_of(&path, ptx, entry, capability) {
            latest = Some((written, code));
        }
    }
    latest.map(|(_, code)| code)
}

/// The files two folders below one, where the driver keeps them, that are longer than so
/// many bytes.
fn files(folder: &Path, bytes_min: u64) -> impl Iterator<Item = (PathBuf, SystemTime)> {
    let inside = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let outer = inside(folder.to_owned()).flat_map(move |outer| inside(outer.path()));
    let all = outer.flat_map(move |middle| inside(middle.path())).take(FILES_MAX);
    all.filter_map(move |file| {
        let about = file.metadata().ok()?;
        let about = Some(about).filter(|about| about.is_file() && about.len() > bytes_min)?;
        Some((file.path(), about.modified().ok()?))
    })
}

/// The machine code in a file, if all that is known of it says that it is the one.
fn code_of(path: &Path, ptx: &str, entry: &str, capability: (u32, u32)) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    let mut header = [0; HEADER_BYTES];
    file.read_exact(&mut header).ok()?;
    let [key_len, code_len] =
        [KEY_LENGTH_AT, CODE_LENGTH_AT].map(|at| number(&header, at).map_or(0, u64::from_le_bytes));
    let all = key_len.checked_add(code_len)?.checked_add(HEADER_BYTES as u64)?;
    let spare = key_len.checked_sub(ptx.len() as u64)?;
    if spare > KEY_MORE_BYTES || file.metadata().ok()?.len() != all {
        return None;
    }
    let mut rest = Vec::new();
    file.read_to_end(&mut rest).ok()?;
    let code = rest.split_off(usize::try_from(key_len).ok().filter(|&len| len <= rest.len())?);
    let is_right = is_key(&rest, ptx, capability) && has_kernel(&code, entry);
    is_right.then_some(code)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Whether a key is that of this PTX, assembled whole for this architecture.
fn is_key(key: &[u8], ptx: &str, (major, minor): (u32, u32)) -> bool {
    let spare = key.len() - ptx.len();
    let place = (0..=spare).find(|&at| &key[at..at + ptx.len()] == ptx.as_bytes());
    let Some(place) = place else { return false };
    let options = String::from_utf8_lossy(&key[place + ptx.len()..]);
    // What the driver's linker asks for, whose code is not whole.
    let is_relocatable = options.split_whitespace().any(|option| option == "-c");
    key[..place].ends_with(format!("sm_{major}{minor}").as_bytes()) && !is_relocatable
}

/// Whether bytes are machine code for NVIDIA GPUs with a kernel of this name.
fn has_kernel(code: &[u8], entry: &str) -> bool {
    let section = format!(".text.{entry}\0");
    code.starts_with(b"\x7fELF")
        && number(code, 18).map(u16::from_le_bytes) == Some(EM_CUDA)
        && code.windows(section.len()).any(|bytes| bytes == section.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTX: &str = ".version 8.0\n.target sm_90a\nwgmma.fence.sync.aligned;\n";

    /// A folder of the test's own, which goes with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("raddle-driver-cache-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(path.join("a/b")).expect("the system has a folder for such");
            Self(path)
        }

        /// Writes a file as the driver does.
        fn keep(&self, name: &str, before: &str, ptx: &str, after: &str, code: &[u8]) {
            let key = [before.as_bytes(), ptx.as_bytes(), after.as_bytes()].concat();
            let lengths = [key.len() as u64, code.len() as u64].map(u64::to_le_bytes);
            let file = [&[0x41, 0, 0, 0], lengths.as_flattened(), &[7; 8], &key[..], code].concat();
            fs::write(self.0.join("a/b").join(name), file).expect("own folder");
        }

        fn find(&self) -> Option<Vec<u8>> {
            find_in(&self.0, PTX, "one", (9, 0))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn elf(entry: &str, more: u8) -> Vec<u8> {
        let mut code = [b"\x7fELF".as_slice(), &[2; 14], &EM_CUDA.to_le_bytes()].concat();
        code.extend(format!("\0.text.{entry}\0").bytes());
        code.push(more);
        code
    }

    const BEFORE: &str = "Apr  1 2026HOST64sm_90";

    #[test]
    fn the_code_of_this_ptx_is_found() {
        let folder = Folder::new("found");
        assert_eq!(folder.find(), None);
        folder.keep("other", BEFORE, &PTX.replace("fence", "third"), "\0", &elf("one", 1));
        folder.keep("this", BEFORE, PTX, "\0 -lineinfo", &elf("one", 2));
        assert_eq!(folder.find(), Some(elf("one", 2)));
    }

    #[test]
    fn of_several_the_latest_counts() {
        let folder = Folder::new("latest");
        folder.keep("new", BEFORE, PTX, "", &elf("one", 1));
        folder.keep("old", "Jan  1 2020HOST64sm_90", PTX, "", &elf("one", 2));
        let old = File::options().write(true).open(folder.0.join("a/b/old")).expect("it is there");
        let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        old.set_modified(long_ago).expect("own file");
        assert_eq!(folder.find(), Some(elf("one", 1)));
    }

    #[test]
    fn what_is_not_certainly_right_is_left_alone() {
        let folder = Folder::new("wrong");
        folder.keep("architecture", "HOST64sm_89", PTX, "", &elf("one", 1));
        folder.keep("linked", BEFORE, PTX, "\0 -c -lineinfo", &elf("one", 2));
        folder.keep("kernel", BEFORE, PTX, "", &elf("two", 3));
        folder.keep("no code", BEFORE, PTX, "", b"\x7fELF");
        folder.keep("cut", BEFORE, PTX, "", &elf("one", 4));
        let cut = folder.0.join("a/b/cut");
        let bytes = fs::read(&cut).expect("it is there");
        fs::write(&cut, &bytes[..bytes.len() - 1]).expect("own file");
        fs::write(folder.0.join("a/b/short"), [0x41; 20]).expect("own folder");
        fs::write(folder.0.join("a/b/huge"), [0xff; 64]).expect("own folder");
        fs::write(folder.0.join("index"), [0; 400]).expect("own folder");
        assert_eq!(folder.find(), None);
        assert_eq!(find_in(Path::new("/nowhere"), PTX, "one", (9, 0)), None);
    }

    #[test]
    fn the_folder_is_the_drivers() {
        let of = |set: &[(&str, &str)]| {
            folder(&|name| Some(set.iter().find(|(key, _)| *key == name)?.1.to_owned()))
        };
        assert_eq!(of(&[("HOME", "/h")]), Some("/h/.nv/ComputeCache".into()));
        assert_eq!(of(&[("HOME", "/h"), ("CUDA_CACHE_PATH", "/c")]), Some("/c".into()));
        assert_eq!(of(&[("HOME", "/h"), ("CUDA_CACHE_DISABLE", "1")]), None);
        assert_eq!(of(&[]), None);
    }
}
