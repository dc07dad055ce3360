//! System shared memory: regions that clients on this machine register, so that
//! tensors need not go through a socket.
//!
//! Regions are read and written as files below `/dev/shm`, one copy either way, not
//! mapped: another process may cut its file at any time, and a mapping would then be
//! a crash where a read is an error. Off unless the settings allow it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::protocol::Region;
use crate::repository::is_plain;
use crate::tensor::Rope;

/// Where POSIX shared memory lies on Linux.
const FOLDER: &str = "/dev/shm";
/// `O_NOFOLLOW`: a name must not be a link to somewhere else.
const NO_FOLLOW: i32 = 0o400_000;

/// The regions that are registered.
pub struct SharedMemory {
    is_allowed: bool,
    regions: Mutex<BTreeMap<String, Arc<Registered>>>,
}

/// A region that is registered.
#[derive(Debug)]
pub struct Registered {
    /// Name of the file, as `shm_open` takes it.
    pub key: String,
    /// Where in the file the region begins.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    file: File,
}

impl SharedMemory {
    /// No regions yet.
    pub fn new(is_allowed: bool) -> Self {
        Self { is_allowed, regions: Mutex::default() }
    }

    fn check(&self) -> Result<()> {
        match self.is_allowed {
            true => Ok(()),
            false => Err(Error::Off {
                what: "system shared memory",
                remedy: "start the server with allow_shared_memory = true",
            }),
        }
    }

    /// Registers a region.
    ///
    /// ## Errors
    /// [`Error::Off`]; [`Error::Invalid`] if there is no such memory or the name is taken.
    pub fn register(&self, name: &str, key: &str, offset: u64, bytes: u64) -> Result<()> {
        self.check()?;
        let plain = key.strip_prefix('/').unwrap_or(key);
        if !is_plain(plain) {
            return Err(Error::invalid(format!("shared memory key {key:?} is no name")));
        }
        let path = Path::new(FOLDER).join(plain);
        let opened = OpenOptions::new().read(true).write(true).custom_flags(NO_FOLLOW).open(path);
        let unusable = |why| Error::invalid(format!("shared memory {key}: {why}"));
        let file = opened.map_err(|why| unusable(why.to_string()))?;
        let about = file.metadata().map_err(|why| unusable(why.to_string()))?;
        let end = offset.checked_add(bytes).filter(|&end| end <= about.len() && about.is_file());
        if end.is_none() {
            let found = about.len();
            return Err(unusable(format!("has {found} bytes, not {bytes} from {offset} on")));
        }
        let registered = Registered { key: key.into(), offset, bytes, file };
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        if regions.contains_key(name) {
            return Err(Error::invalid(format!(
                "shared memory region {name} is registered already"
            )));
        }
        regions.insert(name.into(), Arc::new(registered));
        Ok(())
    }

    /// Forgets a region, or all of them if the name is empty.
    ///
    /// ## Errors
    /// [`Error::Off`].
    pub fn unregister(&self, name: &str) -> Result<()> {
        self.check()?;
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        regions.retain(|own, _| !name.is_empty() && own != name);
        Ok(())
    }

    /// The region of a name, or all of them if the name is empty.
    ///
    /// ## Errors
    /// [`Error::Off`]; [`Error::Invalid`] if there is no such region.
    pub fn status(&self, name: &str) -> Result<Vec<(String, Arc<Registered>)>> {
        self.check()?;
        let regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let chosen = regions.iter().filter(|(own, _)| name.is_empty() || *own == name);
        let chosen: Vec<_> = chosen.map(|(own, it)| (own.clone(), Arc::clone(it))).collect();
        match chosen.is_empty() && !name.is_empty() {
            true => Err(Error::invalid(format!("shared memory region {name} is not registered"))),
            false => Ok(chosen),
        }
    }

    fn place(&self, region: &Region, bytes: u64) -> Result<(Arc<Registered>, u64)> {
        let (_, registered) = self.status(&region.name)?.remove(0);
        let end = region.offset.checked_add(bytes);
        if end.is_none_or(|end| end > registered.bytes) {
            return Err(Error::invalid(format!(
                "shared memory region {} has {} bytes, not {bytes} from {} on",
                region.name, registered.bytes, region.offset
            )));
        }
        let at = registered.offset + region.offset;
        Ok((registered, at))
    }

    /// Reads a tensor.
    ///
    /// ## Errors
    /// [`Error::Off`]; [`Error::Invalid`] if it is not within the region.
    pub fn read(&self, region: &Region) -> Result<Vec<u8>> {
        let (registered, at) = self.place(region, region.bytes)?;
        let mut data = vec![0; region.bytes as usize];
        let read = registered.file.read_exact_at(&mut data, at);
        read.map_err(|why| Error::invalid(format!("shared memory {}: {why}", registered.key)))?;
        Ok(data)
    }

    /// Writes a tensor.
    ///
    /// ## Errors
    /// As [`Self::read`], and if the tensor is larger than its place.
    pub fn write(&self, region: &Region, data: &Rope) -> Result<()> {
        if data.len() as u64 > region.bytes {
            return Err(Error::invalid(format!(
                "an output of {} bytes does not fit the {} bytes given in region {}",
                data.len(),
                region.bytes,
                region.name
            )));
        }
        let (registered, mut at) = self.place(region, data.len() as u64)?;
        for part in data.parts() {
            let written = registered.file.write_all_at(part, at);
            written.map_err(|why| {
                Error::invalid(format!("shared memory {}: {why}", registered.key))
            })?;
            at += part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shared memory as a client makes it; gone with the test.
    struct Memory(String);

    impl Memory {
        fn new(bytes: u64) -> Self {
            let name = format!("raddle-test-{}-{bytes}", std::process::id());
            let file = File::create(Path::new(FOLDER).join(&name)).expect("/dev/shm is there");
            file.set_len(bytes).expect("there is room");
            Self(name)
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(Path::new(FOLDER).join(&self.0));
        }
    }

    fn region(offset: u64, bytes: u64) -> Region {
        Region { name: "r".into(), offset, bytes }
    }

    #[test]
    fn tensors_go_through_registered_regions() {
        let memory = Memory::new(4096);
        let shared = SharedMemory::new(true);
        shared.register("r", &format!("/{}", memory.0), 96, 1000).unwrap();
        shared.write(&region(10, 20), &Rope::from(vec![7; 20])).unwrap();
        assert_eq!(shared.read(&region(9, 3)).unwrap(), [0, 7, 7]);
        let error = |result: Result<Vec<u8>>| result.unwrap_err().to_string();
        assert!(error(shared.read(&region(990, 11))).contains("has 1000 bytes"));
        assert!(error(shared.read(&region(u64::MAX, 2))).contains("has 1000 bytes"));
        assert!(shared.write(&region(0, 4), &Rope::from(vec![0; 5])).is_err());
        assert!(shared.register("r", &memory.0, 0, 1).is_err(), "the name is taken");
        assert!(shared.register("s", &memory.0, 4000, 97).is_err(), "beyond the end");
        // A client that cuts its memory gets an error, and nobody crashes.
        File::create(Path::new(FOLDER).join(&memory.0)).unwrap();
        assert!(error(shared.read(&region(0, 8))).contains("shared memory"));
        shared.unregister("").unwrap();
        assert!(error(shared.read(&region(0, 8))).contains("not registered"));
    }

    #[test]
    fn it_is_off_unless_allowed_and_reaches_nothing_else() {
        let off = SharedMemory::new(false);
        assert!(matches!(off.register("r", "x", 0, 1), Err(Error::Off { .. })));
        assert!(matches!(off.read(&region(0, 1)), Err(Error::Off { .. })));
        let on = SharedMemory::new(true);
        for key in ["../../etc/hostname", "/../etc/hostname", "", "/", "a/b"] {
            assert!(on.register("r", key, 0, 1).unwrap_err().to_string().contains("is no name"));
        }
    }
}
