//! What can be asked about a device's memory.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Live, Pool};
use crate::device::Device;
use crate::error::Result;
use crate::profile::Stack;
use crate::shelf::Shelf;
use crate::sync::lock;

/// How a device's memory is used, by this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Bytes of the blocks that buffers hold.
    pub live_bytes: u64,
    /// Most such bytes at once; if several streams allocate, at most as many as each of
    /// them has held, taken together.
    pub live_bytes_max: u64,
    /// Number of such blocks.
    pub live_blocks: u64,
    /// Bytes taken from the device.
    pub reserved_bytes: u64,
    /// Most bytes taken from the device at once.
    pub reserved_bytes_max: u64,
    /// Most bytes that may be taken from the device; `u64::MAX` without a limit.
    pub limit_bytes: u64,
    /// The longest free range that is not in a stream's cache.
    pub largest_free_bytes: u64,
    /// Allocations that a stream's own cache served, without a driver call.
    pub hits: u64,
    /// Other allocations.
    pub misses: u64,
    /// How often more memory was taken from the device.
    pub growths: u64,
    /// How often a stream was made to wait, on the device, for memory that another
    /// used before.
    pub device_waits: u64,
    /// How often the host had to wait for memory.
    pub host_waits: u64,
    /// How often free memory was given back to the device.
    pub trims: u64,
}

/// What a memory hook is told (see [`Device::set_memory_hook`]).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryPressure {
    /// The device that has no more memory.
    pub device: Device,
    /// Bytes asked for.
    pub requested_bytes: usize,
    /// How its memory is used.
    pub usage: MemoryUse,
}

/// Who holds memory: buffers that were allocated at one place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Holder {
    /// Bytes held; an estimate if the profile samples.
    pub bytes: u64,
    /// Number of buffers; an estimate if the profile samples.
    pub buffers: u64,
    /// The calls that led there.
    pub stack: Stack,
}

/// A device's memory at the time of an error.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolState {
    /// How it is used.
    pub usage: MemoryUse,
    /// Who holds most of it, by the memory profile, the largest first.
    pub holders: Vec<Holder>,
}

impl fmt::Display for PoolState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MemoryUse { live_bytes, live_blocks, reserved_bytes, limit_bytes, .. } = self.usage;
        write!(f, "{live_blocks} buffers hold {live_bytes} of {reserved_bytes} bytes reserved")?;
        if limit_bytes != u64::MAX {
            write!(f, ", the limit is {limit_bytes}")?;
        }
        for holder in &self.holders {
            write!(f, "\n  {} bytes in {} buffers from", holder.bytes, holder.buffers)?;
            for frame in holder.stack.frames().iter().take(FRAMES_SHOWN) {
                write!(f, "\n    {frame}")?;
            }
        }
        Ok(())
    }
}

/// Calls of a stack that an error message shows.
const FRAMES_SHOWN: usize = 6;
/// Places that an error names.
const HOLDERS_MAX: usize = 5;

impl Pool {
    /// How the memory is used. The caller holds no lock.
    pub(crate) fn usage(&self, device: &Device) -> MemoryUse {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let of_streams = |count: fn(&Live) -> &AtomicU64| -> u64 {
            device.inner().queues.all().map(|queue| load(count(&queue.live))).sum()
        };
        // Streams need not have held the most at the same time.
        let blocks_max = of_streams(|live| &live.bytes_max).min(self.budget.reserved_bytes_max());
        let hits = device.inner().queues.all().map(|queue| lock(&queue.state).cache.hits()).sum();
        let largest = [&self.small, &self.large].map(|heap| lock(heap).usage().largest_free_bytes);
        MemoryUse {
            live_bytes: of_streams(|live| &live.bytes) + load(&self.direct.bytes),
            live_bytes_max: blocks_max + load(&self.direct.bytes_max),
            live_blocks: of_streams(|live| &live.blocks) + load(&self.direct.blocks),
            reserved_bytes: self.budget.reserved_bytes(),
            reserved_bytes_max: self.budget.reserved_bytes_max(),
            limit_bytes: self.budget.limit_bytes(),
            largest_free_bytes: largest[0].max(largest[1]),
            hits,
            misses: load(&self.counts.misses),
            growths: load(&self.counts.growths),
            device_waits: load(&self.counts.device_waits),
            host_waits: load(&self.counts.host_waits),
            trims: load(&self.counts.trims),
        }
    }

    pub(super) fn state(&self, device: &Device) -> PoolState {
        let holders = crate::profile::holders(device.kind(), HOLDERS_MAX);
        PoolState { usage: self.usage(device), holders }
    }
}

impl Device {
    fn pool(&self) -> &Pool {
        &self.inner().pool
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.pool().shelf
    }

    /// How the device's memory is used, by this process.
    #[must_use]
    pub fn memory_use(&self) -> MemoryUse {
        self.pool().usage(self)
    }

    /// Begins to look for the most bytes in use and reserved anew.
    pub fn reset_memory_peaks(&self) {
        let pool = self.pool();
        pool.direct.reset_max();
        self.inner().queues.all().for_each(|queue| queue.live.reset_max());
        pool.budget.reset_max();
    }

    /// Takes at most `bytes` from the device, `None` for all there is; by default
    /// what `RADDLE_MEMORY_LIMIT` says. What is reserved beyond it stays until it
    /// is trimmed.
    pub fn set_memory_limit(&self, bytes: Option<u64>) {
        self.pool().budget.set_limit_bytes(bytes.unwrap_or(u64::MAX));
    }

    /// Gives memory that no buffer holds back to the device, and waits for the work
    /// that still uses it; host memory for devices that nobody holds goes too.
    /// Returns the number of bytes of the device.
    ///
    /// ## Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub fn trim_memory(&self) -> Result<u64> {
        let trimmed = self.pool().trim(self, u64::MAX)?;
        self.shelf().trim(self);
        Ok(trimmed)
    }

    /// Has `hook` called before an allocation fails for lack of memory. It may drop
    /// buffers, of any thread's, and returns whether it did: then the allocation is
    /// tried again. It replaces the hook before.
    pub fn set_memory_hook(&self, hook: impl Fn(&MemoryPressure) -> bool + Send + Sync + 'static) {
        *lock(&self.pool().hook) = Some(Arc::new(hook));
    }

    /// Has no hook called any more.
    pub fn clear_memory_hook(&self) {
        *lock(&self.pool().hook) = None;
    }
}
