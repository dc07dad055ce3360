//! How much memory is handed out, counted where it was allocated: each stream has
//! counters of its own, so that threads with a stream each do not share them.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is handed out of one stream's allocations.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Live {
    pub(super) bytes: AtomicU64,
    pub(super) bytes_max: AtomicU64,
    pub(super) blocks: AtomicU64,
}

impl Live {
    #[inline]
    pub(super) fn add(&self, bytes: u64) {
        let now = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if now > self.bytes_max.load(Ordering::Relaxed) {
            self.bytes_max.fetch_max(now, Ordering::Relaxed);
        }
        self.blocks.fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn remove(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.blocks.fetch_sub(1, Ordering::Relaxed);
    }

    /// Begins to look for the most bytes anew.
    pub(super) fn reset_max(&self) {
        self.bytes_max.store(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}
