//! [`Prefetch`]: each thread's values on their way from global memory, several
//! groups ahead of their use.
//!
//! A thread copies into places of its own and reads back only those, so that no
//! barrier is needed: `cp.async.wait_group` is enough. Registers hold one group at a
//! time, and shared memory those that are under way: that is what keeps a memory of
//! high bandwidth busy when rows are too long for several in registers.

use super::{
    copy_async, copy_async_cg, copy_async_commit, copy_async_or_zero, copy_async_wait_all,
    wait_for_all_but,
};
use crate::bits::AnyBits;
use crate::index::{block_threads, thread_linear};
use crate::shared::dynamic_shared;
use crate::unroll::{unroll, unrolled};

/// A queue of `DEPTH` groups of `GROUP` values of 4, 8 or 16 bytes, copied from a
/// slice into dynamic shared memory.
///
/// A group is the values at `begin`, `begin + step`, … of the slice. The queue is
/// always full: [`swap`](Self::swap) takes the oldest group and starts another.
///
/// The launch gives [`shared_bytes`](Self::shared_bytes) of dynamic shared memory,
/// all of which is the queue's: a kernel that makes two queues at once reads the
/// values of one from the other.
pub struct Prefetch<'g, T, const GROUP: usize, const DEPTH: usize> {
    source: &'g [T],
    step: usize,
    /// This thread's place for the first value of a group, in the first group.
    places: *mut T,
    threads: usize,
    oldest: usize,
}

impl<'g, T: AnyBits, const GROUP: usize, const DEPTH: usize> Prefetch<'g, T, GROUP, DEPTH> {
    /// Bytes of dynamic shared memory that a block of `threads` threads needs.
    #[must_use]
    pub const fn shared_bytes(threads: u32) -> usize {
        threads as usize * GROUP * DEPTH * size_of::<T>()
    }

    /// Starts copying `DEPTH` groups, the `i`-th from `begin(i)` on, all with
    /// distance `step`. Values beyond the end of `source` become zeros.
    ///
    /// # Panics
    ///
    /// If `source` does not lie in global memory aligned to its values' size, or the
    /// launch gives too little dynamic shared memory.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn new(source: &'g [T], step: usize, begin: impl Fn(usize) -> usize) -> Self {
        const { assert!(DEPTH >= 1 && DEPTH <= 8, "a queue has 1 to 8 groups") };
        const { assert!(GROUP >= 1 && GROUP <= 64, "a group has 1 to 64 values") };
        assert!(
            source.is_empty()
                || super::is_global(source.as_ptr())
                    && source.as_ptr().addr().is_multiple_of(size_of::<T>()),
            "values that are copied ahead lie in global memory, aligned to their size"
        );
        let threads = block_threads() as usize;
        let (shared, len) = dynamic_shared::<T>();
        assert!(
            len >= GROUP * DEPTH * threads,
            "the launch gives less dynamic shared memory than the queue needs"
        );
        let places = shared.wrapping_add(thread_linear() as usize);
        let queue = Self { source, step, places, threads, oldest: 0 };
        unroll::<DEPTH>(|group| queue.start(group, begin(group)));
        queue
    }

    /// Waits for the oldest group and takes it; starts copying the group from `begin`
    /// on in its place.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn swap(&mut self, begin: usize) -> [T; GROUP] {
        wait_for_all_but(DEPTH - 1);
        let group = self.oldest;
        // SAFETY: this thread's place, which its copy has filled.
        let values = unrolled(|i| unsafe { self.place(group, i).read() });
        self.start(group, begin);
        self.oldest = if group + 1 == DEPTH { 0 } else { group + 1 };
        values
    }

    /// Where value `i` of a group lies: the values of neighbouring threads beside
    /// each other.
    #[inline(always)]
    fn place(&self, group: usize, i: usize) -> *mut T {
        self.places.wrapping_add((group * GROUP + i) * self.threads)
    }

    #[inline(always)]
    fn start(&self, group: usize, begin: usize) {
        let (source, len) = (self.source.as_ptr(), self.source.len());
        let last = begin.checked_add((GROUP - 1) * self.step);
        if last.is_some_and(|last| last < len) {
            let source = source.wrapping_add(begin);
            unroll::<GROUP>(|i| {
                let source = source.wrapping_add(i * self.step);
                // SAFETY: a value of the slice, which is borrowed as long as the queue
                // lives and waited for when it is dropped, and a place of this thread.
                unsafe { copy(self.place(group, i), source) };
            });
        } else {
            unroll::<GROUP>(|i| {
                let index = begin.saturating_add(i * self.step);
                let (source, bytes) = match self.source.get(index) {
                    Some(value) => (&raw const *value, size_of::<T>() as u32),
                    None => (source, 0),
                };
                // SAFETY: as above; no byte is read outside of the slice.
                unsafe { copy_async_or_zero(self.place(group, i), source, bytes) };
            });
        }
        copy_async_commit();
    }
}

/// One copy, past L1 where there is such an instruction.
///
/// # Safety
///
/// As for [`copy_async`].
#[inline(always)]
unsafe fn copy<T>(shared: *mut T, global: *const T) {
    // SAFETY: by the caller's contract.
    unsafe {
        if size_of::<T>() == 16 {
            copy_async_cg(shared.cast::<[u8; 16]>(), global.cast());
        } else {
            copy_async(shared, global);
        }
    }
}

impl<T, const GROUP: usize, const DEPTH: usize> Drop for Prefetch<'_, T, GROUP, DEPTH> {
    /// Waits for what is under way.
    #[inline(always)]
    fn drop(&mut self) {
        copy_async_wait_all();
    }
}
