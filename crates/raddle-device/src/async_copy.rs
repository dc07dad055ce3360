//! Asynchronous copies from global to shared memory by the copying threads
//! themselves: `cp.async`.
//!
//! A thread starts copies, closes them into a group with
//! [`copy_async_commit`], and later waits until at most `N` of its groups are
//! still under way. A wait covers the thread's own copies only: a barrier must
//! follow before other threads read what arrived.
//!
//! The host body copies at once, which is the earliest completion that the
//! instruction allows.
//!
//! *Source*: PTX ISA, "Data Movement and Conversion Instructions: Asynchronous
//! copy: Non-bulk copy", `sm_80`.

use crate::mbarrier::Mbarrier;
#[cfg(raddle_device)]
use crate::shared::shared_address;

intrinsics! {
    COPIES, "Asynchronous copy: cp.async";
    fn copy_ca_4(shared: u32, global: u64) = "raddle.asm.v:r,l,~{memory}:cp.async.ca.shared.global [$0], [$1], 4;", sm 80, ptx 70;
    fn copy_ca_8(shared: u32, global: u64) = "raddle.asm.v:r,l,~{memory}:cp.async.ca.shared.global [$0], [$1], 8;", sm 80, ptx 70;
    fn copy_ca_16(shared: u32, global: u64) = "raddle.asm.v:r,l,~{memory}:cp.async.ca.shared.global [$0], [$1], 16;", sm 80, ptx 70;
    fn copy_cg_16(shared: u32, global: u64) = "raddle.asm.v:r,l,~{memory}:cp.async.cg.shared.global [$0], [$1], 16;", sm 80, ptx 70;
    fn copy_cg_16_l2_128(shared: u32, global: u64) = "raddle.asm.v:r,l,~{memory}:cp.async.cg.shared.global.L2::128B [$0], [$1], 16;", sm 80, ptx 74;
    fn fill_ca_4(shared: u32, global: u64, bytes: u32) = "raddle.asm.v:r,l,r,~{memory}:cp.async.ca.shared.global [$0], [$1], 4, $2;", sm 80, ptx 70;
    fn fill_ca_8(shared: u32, global: u64, bytes: u32) = "raddle.asm.v:r,l,r,~{memory}:cp.async.ca.shared.global [$0], [$1], 8, $2;", sm 80, ptx 70;
    fn fill_ca_16(shared: u32, global: u64, bytes: u32) = "raddle.asm.v:r,l,r,~{memory}:cp.async.ca.shared.global [$0], [$1], 16, $2;", sm 80, ptx 70;
    fn fill_cg_16(shared: u32, global: u64, bytes: u32) = "raddle.asm.v:r,l,r,~{memory}:cp.async.cg.shared.global [$0], [$1], 16, $2;", sm 80, ptx 70;
    fn commit_group() = "raddle.asm.v:~{memory}:cp.async.commit_group;", sm 80, ptx 70;
    fn wait_0() = "raddle.asm.v:~{memory}:cp.async.wait_group 0;", sm 80, ptx 70;
    fn wait_1() = "raddle.asm.v:~{memory}:cp.async.wait_group 1;", sm 80, ptx 70;
    fn wait_2() = "raddle.asm.v:~{memory}:cp.async.wait_group 2;", sm 80, ptx 70;
    fn wait_3() = "raddle.asm.v:~{memory}:cp.async.wait_group 3;", sm 80, ptx 70;
    fn wait_4() = "raddle.asm.v:~{memory}:cp.async.wait_group 4;", sm 80, ptx 70;
    fn wait_5() = "raddle.asm.v:~{memory}:cp.async.wait_group 5;", sm 80, ptx 70;
    fn wait_6() = "raddle.asm.v:~{memory}:cp.async.wait_group 6;", sm 80, ptx 70;
    fn wait_7() = "raddle.asm.v:~{memory}:cp.async.wait_group 7;", sm 80, ptx 70;
    fn arrive_after(barrier: u32) = "raddle.asm.c.v:r,~{memory}:cp.async.mbarrier.arrive.noinc.shared.b64 [$0];", sm 80, ptx 70;
    fn arrive_after_extra(barrier: u32) = "raddle.asm.c.v:r,~{memory}:cp.async.mbarrier.arrive.shared.b64 [$0];", sm 80, ptx 70;
    fn wait_all() = "raddle.asm.v:~{memory}:cp.async.wait_all;", sm 80, ptx 70;
}

/// Starts copying one `T` of 4, 8 or 16 bytes through L1 and L2. PTX
/// `cp.async.ca`, `sm_80`.
///
/// # Safety
///
/// `shared` points into this block's shared memory and is valid for writes,
/// `global` into global memory and is valid for reads, both aligned to the size
/// of `T`. Until a wait has returned, nobody accesses `shared` and nobody writes
/// `global`.
#[inline(always)]
pub unsafe fn copy_async<T>(shared: *mut T, global: *const T) {
    const { assert_copied::<T>() };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        match size_of::<T>() {
            4 => copy_ca_4(shared_address(shared), global as u64),
            8 => copy_ca_8(shared_address(shared), global as u64),
            _ => copy_ca_16(shared_address(shared), global as u64),
        }
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        shared.copy_from_nonoverlapping(global, 1);
    }
}

/// Starts copying one `T` of 16 bytes past L1. PTX `cp.async.cg`, `sm_80`.
///
/// # Safety
///
/// As for [`copy_async`].
#[inline(always)]
pub unsafe fn copy_async_cg<T>(shared: *mut T, global: *const T) {
    const { assert!(size_of::<T>() == 16, "`cp.async.cg` copies 16 bytes") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        copy_cg_16(shared_address(shared), global as u64);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        shared.copy_from_nonoverlapping(global, 1);
    }
}

/// [`copy_async_cg`] that asks L2 to fetch the whole 128-byte line. PTX
/// `cp.async.cg.shared.global.L2::128B`, `sm_80`.
///
/// # Safety
///
/// As for [`copy_async`].
#[inline(always)]
pub unsafe fn copy_async_cg_l2_128<T>(shared: *mut T, global: *const T) {
    const { assert!(size_of::<T>() == 16, "`cp.async.cg` copies 16 bytes") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        copy_cg_16_l2_128(shared_address(shared), global as u64);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        shared.copy_from_nonoverlapping(global, 1);
    }
}

/// Starts copying the first `bytes` bytes of a `T` of 4, 8 or 16 bytes and fills
/// the rest of `shared` with zeros. PTX `cp.async` with `src-size`, `sm_80`.
///
/// # Safety
///
/// As for [`copy_async`], except that only the first `bytes` bytes of `global`
/// need to be valid; `bytes` is at most the size of `T`.
#[inline(always)]
pub unsafe fn copy_async_or_zero<T>(shared: *mut T, global: *const T, bytes: u32) {
    const { assert_copied::<T>() };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        match size_of::<T>() {
            4 => fill_ca_4(shared_address(shared), global as u64, bytes),
            8 => fill_ca_8(shared_address(shared), global as u64, bytes),
            _ => fill_cg_16(shared_address(shared), global as u64, bytes),
        }
    }
    #[cfg(not(raddle_device))]
    {
        let (target, bytes) = (shared.cast::<u8>(), bytes as usize);
        // SAFETY: by the caller's contract, `bytes <= size_of::<T>()`.
        unsafe {
            target.copy_from_nonoverlapping(global.cast(), bytes);
            target.add(bytes).write_bytes(0, size_of::<T>() - bytes);
        }
    }
}

/// [`copy_async_or_zero`] of 16 bytes through L1, for elements that the block's
/// other copies read too. PTX `cp.async.ca` with `src-size`, `sm_80`.
///
/// # Safety
///
/// As for [`copy_async_or_zero`].
#[inline(always)]
pub unsafe fn copy_async_ca_or_zero<T>(shared: *mut T, global: *const T, bytes: u32) {
    const { assert!(size_of::<T>() == 16, "smaller copies go through L1 anyway") };
    #[cfg(raddle_device)]
    // SAFETY: by the caller's contract.
    unsafe {
        fill_ca_16(shared_address(shared), global as u64, bytes);
    }
    #[cfg(not(raddle_device))]
    // SAFETY: by the caller's contract.
    unsafe {
        copy_async_or_zero(shared, global, bytes);
    }
}

/// Closes the copies that this thread started since the last commit into one
/// group. PTX `cp.async.commit_group`, `sm_80`.
#[inline(always)]
pub fn copy_async_commit() {
    #[cfg(raddle_device)]
    // SAFETY: only numbers the copies.
    unsafe {
        commit_group();
    }
}

/// Waits until at most the `N` youngest groups of this thread are under way.
/// PTX `cp.async.wait_group N`, `sm_80`; `N` is at most 7.
#[inline(always)]
pub fn copy_async_wait<const N: u32>() {
    const { assert!(N <= 7, "`copy_async_wait` leaves at most 7 groups under way") };
    #[cfg(raddle_device)]
    // SAFETY: only waits.
    unsafe {
        match N {
            0 => wait_0(),
            1 => wait_1(),
            2 => wait_2(),
            3 => wait_3(),
            4 => wait_4(),
            5 => wait_5(),
            6 => wait_6(),
            _ => wait_7(),
        }
    }
}

/// Waits for all copies of this thread, committed or not. PTX
/// `cp.async.wait_all`, `sm_80`.
#[inline(always)]
pub fn copy_async_wait_all() {
    #[cfg(raddle_device)]
    // SAFETY: only waits.
    unsafe {
        wait_all();
    }
}

/// Makes one of the arrivals that `barrier` expects when all copies that this thread
/// has started so far have arrived. PTX `cp.async.mbarrier.arrive.noinc`, `sm_80`.
///
/// The barrier counts the thread itself: it is initialised to expect one arrival of
/// each thread that calls this.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn copy_async_arrive(barrier: &Mbarrier) {
    #[cfg(raddle_device)]
    // SAFETY: an `&Mbarrier` is a live barrier in this block's shared memory.
    unsafe {
        arrive_after(shared_address(&raw const *barrier));
    }
    // The copies have arrived.
    #[cfg(not(raddle_device))]
    let _ = barrier.arrive();
}

/// Keeps the current phase of `barrier` from completing before all copies that this
/// thread has started so far have arrived, beside the arrivals that it expects. PTX
/// `cp.async.mbarrier.arrive`, `sm_80`.
///
/// An arrival of the phase must still be outstanding, such as one that this thread
/// makes afterwards.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn copy_async_hold(barrier: &Mbarrier) {
    #[cfg(raddle_device)]
    // SAFETY: an `&Mbarrier` is a live barrier in this block's shared memory.
    unsafe {
        arrive_after_extra(shared_address(&raw const *barrier));
    }
    // The copies have arrived: one arrival more is expected, and it is made.
    #[cfg(not(raddle_device))]
    let _ = barrier;
}

const fn assert_copied<T>() {
    assert!(matches!(size_of::<T>(), 4 | 8 | 16), "`cp.async` copies 4, 8 or 16 bytes");
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;

    #[test]
    fn zero_fill_keeps_the_first_bytes() {
        let source = [1u32, 2, 3, 4];
        let mut target = [9u32; 4];
        // SAFETY: locals; the host body copies at once.
        unsafe { copy_async_or_zero(&raw mut target, &raw const source, 8) };
        assert_eq!(target, [1, 2, 0, 0]);
        // SAFETY: as above.
        unsafe { copy_async_ca_or_zero(&raw mut target, &raw const source, 4) };
        assert_eq!(target, [1, 0, 0, 0]);
        // SAFETY: as above.
        unsafe { copy_async_cg(&raw mut target, &raw const source) };
        copy_async_commit();
        copy_async_wait::<0>();
        assert_eq!(target, source);
    }
}
