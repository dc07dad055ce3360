//! Folders for tests, below the target folder's place for temporary files, gone with
//! the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// An empty folder.
pub struct Scratch(PathBuf);

impl Scratch {
    /// A folder of its own for each call.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let own = format!("{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let path = std::env::temp_dir().join(own);
        std::fs::create_dir_all(&path).expect("the folder for temporary files is writable");
        Self(path.canonicalize().expect("it was just made"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
