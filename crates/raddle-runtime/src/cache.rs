//! Cubins kept on disk, so that a kernel is assembled once for each driver and
//! not once for each start.
//!
//! A file is named by a hash of all that decides its content (PTX, capability,
//! driver, assembler, options, format) and begins with a checksum of its body. It appears
//! by renaming, so that other processes see all of it or nothing; a file that is
//! cut or damaged is removed and made anew. The cache never makes a load fail:
//! where it cannot be read or written, kernels are assembled each time.
//!
//! `RADDLE_CACHE=off` turns it off; `RADDLE_CACHE_DIR` names its folder, else it
//! is `raddle` in the user's cache folder; `RADDLE_CACHE_MIB` is its size.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use crate::device::Device;

/// The cache of one device.
pub(crate) struct Cache {
    /// `None` when it is off.
    folder: Option<PathBuf>,
    bytes_max: u64,
    /// What tells drivers and devices apart.
    identity: String,
}

impl Device {
    /// The folder in which this user's programs keep what they made for GPUs, and what
    /// tells this GPU and its driver from others: for files that save measuring or
    /// making something at each start. `None` on the CPU, and where the user turned
    /// caches off (`RADDLE_CACHE=off`) or has no folder for them.
    #[must_use]
    pub fn cache(&self) -> Option<(PathBuf, String)> {
        let cache = &self.inner().cuda.as_ref()?.cache;
        let folder = cache.folder.clone()?;
        Some((folder, format!("{} {}", self.name(), cache.identity)))
    }
}

/// Names one cubin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(String);

const MAGIC: &[u8; 8] = b"raddle1\n";
const HEADER_BYTES: usize = 8 + 32;
const BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// A hit makes a file young again when it is older than this.
const TOUCH_AFTER: Duration = Duration::from_secs(24 * 3600);

impl Cache {
    /// The cache for kernels that `driver` assembles for `capability`.
    pub(crate) fn from_env(driver: raddle_cuda::Driver, capability: (u32, u32)) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::from_variables(&variable, identity(driver, capability))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<String>, identity: String) -> Self {
        let mib = variable("RADDLE_CACHE_MIB").and_then(|mib| mib.parse::<u64>().ok());
        let bytes_max = mib.map_or(BYTES_MAX_DEFAULT, |mib| mib.saturating_mul(1 << 20));
        let is_off = matches!(variable("RADDLE_CACHE").as_deref(), Some("off" | "0" | "no"));
        let folder = || {
            let own = variable("RADDLE_CACHE_DIR").map(PathBuf::from);
            let xdg = || Some(PathBuf::from(variable("XDG_CACHE_HOME")?).join("raddle"));
            let local = || Some(PathBuf::from(variable("LOCALAPPDATA")?).join("raddle"));
            let home = || Some(PathBuf::from(variable("HOME")?).join(".cache").join("raddle"));
            own.or_else(xdg).or_else(local).or_else(home)
        };
        Self { folder: if is_off { None } else { folder() }, bytes_max, identity }
    }

    /// The name under which the cubin of `ptx` is kept that the driver's linker makes,
    /// or `assembler` if that is not empty; `None` when the cache is off.
    pub(crate) fn key(&self, ptx: &str, assembler: &str) -> Option<Key> {
        self.folder.as_ref()?;
        Some(key_of(&self.identity, assembler, ptx))
    }

    /// The cubin, if it is there and whole.
    pub(crate) fn read(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        let mut file = fs::read(&path).ok()?;
        if !is_whole(&file) {
            // Damaged: whoever assembles the kernel puts a good one there.
            let _ = fs::remove_file(&path);
            return None;
        }
        keep_young(&path);
        Some(file.split_off(HEADER_BYTES))
    }

    /// Keeps a cubin. Failure to do so is no error.
    pub(crate) fn write(&self, key: &Key, cubin: &[u8]) {
        if let Some(path) = self.path(key)
            && let Some(folder) = path.parent()
            && write_file(folder, &path, cubin).is_ok()
        {
            shrink(folder, self.bytes_max);
        }
    }

    /// A folder that only its owner can write, for files on the way to the cache.
    pub(crate) fn drafts(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?.join("cubin");
        make_private_folder(&folder).ok()?;
        Some(folder)
    }

    /// Forgets a cubin.
    pub(crate) fn remove(&self, key: &Key) {
        if let Some(path) = self.path(key) {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join("cubin").join(format!("{}.cubin", key.0)))
    }
}

fn key_of(identity: &str, assembler: &str, ptx: &str) -> Key {
    let mut hash = Sha256::new();
    for part in ["raddle cubin, format 2, options: line tables", identity, assembler, ptx] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    Key(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What tells drivers and devices apart: the CUDA version, the driver's release
/// where the system gives it, and the compute capability.
fn identity(driver: raddle_cuda::Driver, capability: (u32, u32)) -> String {
    let (major, minor) = driver.version();
    let release = fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default();
    format!("sm_{}{} for {major}.{minor} {release}", capability.0, capability.1)
}

fn checksum(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

fn is_whole(file: &[u8]) -> bool {
    file.len() > HEADER_BYTES
        && file.starts_with(MAGIC)
        && file[8..HEADER_BYTES] == checksum(&file[HEADER_BYTES..])
}

fn write_file(folder: &Path, path: &Path, cubin: &[u8]) -> std::io::Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    make_private_folder(folder)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let draft = folder.join(format!("draft-{}-{number}", std::process::id()));
    let written = fs::File::create(&draft).and_then(|mut file| {
        file.write_all(MAGIC)?;
        file.write_all(&checksum(cubin))?;
        file.write_all(cubin)
    });
    let renamed = written.and_then(|()| fs::rename(&draft, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    renamed
}

/// Makes a folder that only its owner can write, since its files become code.
fn make_private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn keep_young(path: &Path) {
    let is_old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > TOUCH_AFTER);
    if fs::metadata(path).and_then(|data| data.modified()).is_ok_and(is_old)
        && let Ok(file) = fs::File::options().append(true).open(path)
    {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Removes the files that were not used for longest until three quarters of
/// `bytes_max` are in use, if more than all of it is.
fn shrink(folder: &Path, bytes_max: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some((data.modified().ok()?, data.len(), entry.path()))
        })
        .collect();
    let mut bytes: u64 = files.iter().map(|file| file.1).sum();
    if bytes <= bytes_max {
        return;
    }
    files.sort();
    for (_, len, path) in files {
        if bytes <= bytes_max / 4 * 3 {
            return;
        }
        if fs::remove_file(path).is_ok() {
            bytes -= len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = format!("raddle-cache-test-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(folder))
        }

        fn cache(&self, bytes_max: u64) -> Cache {
            Cache { folder: Some(self.0.clone()), bytes_max, identity: "sm_90".to_owned() }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_written_is_read_and_damage_is_found() {
        let folder = Folder::new("damage");
        let cache = folder.cache(1 << 20);
        let key = cache.key("ptx", "").unwrap();
        assert_eq!(cache.read(&key), None);
        cache.write(&key, b"\x7fELF and more");
        assert_eq!(cache.read(&key).as_deref(), Some(&b"\x7fELF and more"[..]));
        let path = cache.path(&key).unwrap();
        let good = fs::read(&path).unwrap();
        for cut in [0, 7, HEADER_BYTES, good.len() - 1] {
            fs::write(&path, &good[..cut]).unwrap();
            assert_eq!(cache.read(&key), None, "cut to {cut} bytes");
            assert!(!path.exists());
        }
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(cache.read(&key), None);
        cache.write(&key, b"\x7fELF and more");
        assert!(cache.read(&key).is_some());
        cache.remove(&key);
        assert_eq!(cache.read(&key), None);
    }

    #[test]
    fn everything_that_decides_the_content_is_in_the_key() {
        let keys = [
            key_of("sm_90 for 13.0", "", "ptx"),
            key_of("sm_80 for 13.0", "", "ptx"),
            key_of("sm_90 for 13.1", "", "ptx"),
            key_of("sm_90 for 13.0", "", "ptx2"),
            key_of("sm_90 for 13.0p", "", "tx"),
            key_of("sm_90 for 13.0", "ptxas", "ptx"),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(keys[..i].iter().all(|other| other != key));
        }
    }

    #[test]
    fn the_size_is_bounded_and_the_latest_file_stays() {
        let folder = Folder::new("size");
        let cache = folder.cache(10_000);
        let body = vec![7u8; 1000];
        let keys: Vec<Key> = (0..30).map(|i| key_of("d", "", &i.to_string())).collect();
        for (i, key) in keys.iter().enumerate() {
            cache.write(key, &body);
            let file = fs::File::options().append(true).open(cache.path(key).unwrap()).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + i as u64);
            file.set_modified(time).unwrap();
        }
        let kept = keys.iter().filter(|key| cache.path(key).unwrap().exists()).count();
        assert!((6..=10).contains(&kept), "{kept} files of 1040 bytes in 10000");
        assert!(cache.read(keys.last().unwrap()).is_some());
    }

    #[test]
    fn threads_that_write_the_same_key_never_show_a_torn_file() {
        let folder = Folder::new("race");
        let cache = folder.cache(1 << 30);
        let key = key_of("d", "", "p");
        let body = vec![3u8; 100_000];
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..30).for_each(|_| cache.write(&key, &body)));
                scope.spawn(|| {
                    for _ in 0..60 {
                        let file = fs::read(cache.path(&key).unwrap()).unwrap_or_default();
                        assert!(file.is_empty() || is_whole(&file));
                    }
                });
            }
        });
    }

    #[test]
    fn variables_place_it_and_turn_it_off() {
        let cache = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|pair| pair.0 == name);
            Cache::from_variables(&|name| Some(find(name)?.1.to_owned()), String::new())
        };
        let folder = |pairs: &[(&str, &str)]| cache(pairs).folder;
        assert_eq!(folder(&[("HOME", "/h")]), Some(PathBuf::from("/h/.cache/raddle")));
        assert_eq!(
            folder(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            Some(PathBuf::from("/x/raddle"))
        );
        let all = [("HOME", "/h"), ("RADDLE_CACHE_DIR", "/d"), ("RADDLE_CACHE_MIB", "2")];
        assert_eq!(folder(&all), Some(PathBuf::from("/d")));
        assert_eq!(cache(&all).bytes_max, 2 << 20);
        assert_eq!(folder(&[("HOME", "/h"), ("RADDLE_CACHE", "off")]), None);
        assert_eq!(folder(&[]), None);
    }
}
