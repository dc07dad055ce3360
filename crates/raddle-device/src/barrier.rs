//! Barriers of a block: all threads, named subsets, and warps.
//!
//! A barrier orders memory: what a thread wrote to shared or global memory
//! before it is seen by every other thread of the barrier after it. Never hold
//! `&mut` to memory that other threads touch across a barrier: the optimiser may
//! keep its value in a register.
//!
//! The barriers are the *aligned* forms, as `__syncthreads` is: all threads of a
//! warp reach the same call together. The CPU device reports a barrier that some
//! threads of the block never reach; on a GPU such a kernel hangs or goes wrong.
//!
//! *Source*: PTX ISA, "Parallel Synchronization and Communication Instructions".

#[cfg(not(raddle_device))]
use core::panic::Location;

intrinsics! {
    BARRIERS, "Parallel Synchronization and Communication Instructions: bar, barrier";
    fn bar_sync() = "raddle.asm.c.v:~{memory}:bar.sync 0;", sm 20, ptx 10;
    fn bar_popc(value: u32) -> u32 = "raddle.asm.c.v:=r,r,~{memory}:{ .reg .pred p; setp.ne.u32 p, $1, 0; bar.red.popc.u32 $0, 0, p; }", sm 20, ptx 20;
    fn bar_and(value: u32) -> u32 = "raddle.asm.c.v:=r,r,~{memory}:{ .reg .pred p, q; setp.ne.u32 p, $1, 0; bar.red.and.pred q, 0, p; selp.u32 $0, 1, 0, q; }", sm 20, ptx 20;
    fn bar_or(value: u32) -> u32 = "raddle.asm.c.v:=r,r,~{memory}:{ .reg .pred p, q; setp.ne.u32 p, $1, 0; bar.red.or.pred q, 0, p; selp.u32 $0, 1, 0, q; }", sm 20, ptx 20;
    fn bar_named_sync(id: u32, threads: u32) = "raddle.asm.c.v:r,r,~{memory}:bar.sync $0, $1;", sm 20, ptx 20;
    fn bar_named_arrive(id: u32, threads: u32) = "raddle.asm.c.v:r,r,~{memory}:bar.arrive $0, $1;", sm 20, ptx 20;
    fn bar_warp_sync(mask: u32) = "raddle.asm.c.v:r,~{memory}:bar.warp.sync $0;", sm 30, ptx 60;
}

/// Waits for all threads of the block: `__syncthreads()`, PTX `bar.sync 0`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn barrier() {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        bar_sync();
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().barrier(0, None, Location::caller());
}

/// A barrier over the block that returns in how many threads `value` held:
/// `__syncthreads_count()`, PTX `bar.red.popc.u32`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn barrier_count(value: bool) -> u32 {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits and counts.
    unsafe {
        bar_popc(u32::from(value))
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().barrier_count(0, value, Location::caller()).0
}

/// A barrier over the block that returns whether `value` held in all threads:
/// `__syncthreads_and()`, PTX `bar.red.and.pred`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn barrier_all(value: bool) -> bool {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits and votes.
    unsafe {
        bar_and(u32::from(value)) != 0
    }
    #[cfg(not(raddle_device))]
    {
        let (count, threads) = crate::host::engine().barrier_count(0, value, Location::caller());
        count == threads
    }
}

/// A barrier over the block that returns whether `value` held in any thread:
/// `__syncthreads_or()`, PTX `bar.red.or.pred`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn barrier_any(value: bool) -> bool {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits and votes.
    unsafe {
        bar_or(u32::from(value)) != 0
    }
    #[cfg(not(raddle_device))]
    {
        crate::host::engine().barrier_count(0, value, Location::caller()).0 != 0
    }
}

/// Waits for the lanes of `mask`, which must contain the caller, and orders
/// their memory accesses: `__syncwarp(mask)`, PTX `bar.warp.sync`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn warp_barrier(mask: u32) {
    #[cfg(raddle_device)]
    // SAFETY: the instruction only waits.
    unsafe {
        bar_warp_sync(mask);
    }
    #[cfg(not(raddle_device))]
    crate::host::engine().warp_collect(mask, &[], &mut [], Location::caller());
}

/// One of the fifteen hardware barriers besides [`barrier`]'s own, over some
/// warps of the block: producers and consumers meet here without stopping the
/// rest.
///
/// *Source*: PTX ISA, "barrier{.cta}": `bar.sync a, b` and `bar.arrive a, b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedBarrier<const ID: u32>;

impl<const ID: u32> NamedBarrier<ID> {
    /// The barrier; `ID` is 1 to 15 ([`barrier`] uses 0), checked at compile time.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(ID >= 1 && ID <= 15, "named barriers have the numbers 1 to 15") };
        Self
    }

    /// Waits until `threads` threads have arrived, counting the caller's warp.
    ///
    /// `threads` is a multiple of 32, the same at each call of one phase.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn sync(self, threads: u32) {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only waits.
        unsafe {
            bar_named_sync(ID, threads);
        }
        #[cfg(not(raddle_device))]
        {
            check_named_threads(threads);
            crate::host::engine().barrier(ID, Some(threads), Location::caller());
        }
    }

    /// Counts the caller's warp as arrived without waiting.
    ///
    /// `threads` is as in [`sync`](Self::sync).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn arrive(self, threads: u32) {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only counts.
        unsafe {
            bar_named_arrive(ID, threads);
        }
        #[cfg(not(raddle_device))]
        {
            check_named_threads(threads);
            crate::host::engine().barrier_arrive(ID, threads, Location::caller());
        }
    }
}

impl<const ID: u32> Default for NamedBarrier<ID> {
    fn default() -> Self {
        Self::new()
    }
}

/// The hardware counts whole warps.
#[cfg(not(raddle_device))]
#[track_caller]
fn check_named_threads(threads: u32) {
    assert!(
        threads != 0 && threads.is_multiple_of(crate::index::WARP),
        "a named barrier counts whole warps: expected a multiple of 32 threads, found {threads}"
    );
}
