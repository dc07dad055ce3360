//! Reductions and scans over all threads of a block.
//!
//! Correct for every block shape of 1 to 1024 threads; threads count in linear
//! order (x, then y, then z). All threads of the block make the call, which
//! contains barriers.
//!
//! The order of combination is fixed, so that results are the same in every
//! thread and every run: the values of each warp are combined as
//! [`Lanes::reduce`](crate::warp::Lanes::reduce) says, then the results of the
//! warps in the same tree over warp numbers. `op` must be associative; it need
//! not be commutative.
//!
//! Each instance keeps one value a warp in static shared memory.

use core::mem::MaybeUninit;

use crate::barrier::barrier;
use crate::index::{WARP, block_threads, lane, thread_linear, warp};
use crate::param::DeviceType;
use crate::shared::Shared;
use crate::warp::{Lanes, reduce_tree, warp_inclusive_scan, warp_reduce};

/// One slot for each warp of a block, and one for the result. Slots are written
/// before they are read, by the barriers below.
type Slots<T> = [MaybeUninit<T>; WARP as usize + 1];

/// The slot of the result.
const RESULT: u32 = WARP;

/// Reduces the values of all threads with `op`; the thread with linear index 0
/// gets the result, all others `None`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn block_reduce<T: DeviceType>(value: T, op: impl Fn(T, T) -> T) -> Option<T> {
    let sum = warp_reduce(value, &op);
    let is_first = thread_linear() == 0;
    let warps = block_threads().div_ceil(WARP);
    if warps == 1 {
        return is_first.then_some(sum);
    }
    let slots = collect_warps(crate::shared!(Slots<T>), sum);
    if warp() == 0 {
        // SAFETY: each warp wrote its slot before the barrier in `collect_warps`,
        // and warp 0 is whole because there are others.
        let total = unsafe { reduce_slots(slots, warps, op) };
        return is_first.then_some(total);
    }
    None
}

/// Reduces the values of all threads with `op` and gives every thread the
/// result.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn block_all_reduce<T: DeviceType>(value: T, op: impl Fn(T, T) -> T) -> T {
    let sum = warp_reduce(value, &op);
    let threads = block_threads();
    let warps = threads.div_ceil(WARP);
    if warps == 1 {
        return sum;
    }
    let slots = collect_warps(crate::shared!(Slots<T>), sum);
    if threads.is_multiple_of(WARP) {
        // Whole warps each repeat the last step, which saves a barrier.
        // SAFETY: each warp wrote its slot before the barrier in `collect_warps`.
        return unsafe { reduce_slots(slots, warps, op) };
    }
    if warp() == 0 {
        // SAFETY: as above; warp 0 is whole because there are others.
        let total = unsafe { reduce_slots(slots, warps, op) };
        write_slot(slots, RESULT, total);
    }
    barrier();
    // SAFETY: lane 0 of warp 0 wrote it before the barrier.
    unsafe { slots.add(RESULT as usize).read().assume_init() }
}

/// A scan's result in one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix<T> {
    /// The values of the threads before this one (and its own, if inclusive),
    /// combined.
    pub value: T,
    /// The values of all threads, combined.
    pub total: T,
}

/// Combines the values of all threads up to and including this one.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn block_inclusive_scan<T: DeviceType>(value: T, op: impl Fn(T, T) -> T) -> Prefix<T> {
    let scanned = warp_inclusive_scan(value, &op);
    let slots = crate::shared!(Slots<T>);
    let (before, total) = scan_warps(slots, scanned, &op);
    let value = if warp() == 0 { scanned } else { op(before, scanned) };
    Prefix { value, total }
}

/// Combines the values of all threads before this one; the first gets
/// `identity`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn block_exclusive_scan<T: DeviceType>(
    value: T,
    identity: T,
    op: impl Fn(T, T) -> T,
) -> Prefix<T> {
    let scanned = warp_inclusive_scan(value, &op);
    let slots = crate::shared!(Slots<T>);
    let (before, total) = scan_warps(slots, scanned, &op);
    let own = Lanes::of_block().previous(scanned);
    let value = match (warp(), own) {
        (0, None) => identity,
        (0, Some(own)) => own,
        (_, None) => before,
        (_, Some(own)) => op(before, own),
    };
    Prefix { value, total }
}

/// Puts each warp's `value` into its slot and waits for all.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
fn collect_warps<T: DeviceType>(slots: Shared<Slots<T>>, value: T) -> *mut MaybeUninit<T> {
    let slots = slots.as_ptr().cast::<MaybeUninit<T>>();
    // Threads may still read the slots of the call before.
    barrier();
    write_slot(slots, warp(), value);
    barrier();
    slots
}

/// Lets the first lane of the warp write slot `slot`.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
fn write_slot<T: DeviceType>(slots: *mut MaybeUninit<T>, slot: u32, value: T) {
    if lane() == 0 {
        // SAFETY: `slot` is a warp's number, at most 31, or the result's; one
        // thread writes it, and the caller's barriers keep readers away.
        unsafe { slots.add(slot as usize).write(MaybeUninit::new(value)) };
    }
}

/// Reduces the slots of `warps` warps; every lane of the calling warp gets the
/// result.
///
/// # Safety
///
/// The first `warps` slots are written, nobody writes them meanwhile, and the
/// calling warp has all its lanes, which all make this call.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
unsafe fn reduce_slots<T: DeviceType>(
    slots: *mut MaybeUninit<T>,
    warps: u32,
    op: impl Fn(T, T) -> T,
) -> T {
    // Each segment of `width` lanes holds one copy of the slots.
    let width = warps.next_power_of_two();
    let slot = lane() & (width - 1);
    let is_held = slot < warps;
    // SAFETY: slot 0 and the slots below `warps` are written.
    let value = unsafe { slots.add(if is_held { slot as usize } else { 0 }).read().assume_init() };
    let lanes = Lanes::ALL.segments(width);
    let holding = if width == warps { u32::MAX } else { lanes.ballot(is_held) };
    // SAFETY: all lanes make this call, and slot 0 of each segment is held.
    unsafe { reduce_tree(lanes, holding, value, op) }
}

/// What all warps before the caller's hold (meaningless in warp 0), and all of
/// them; `scanned` is each thread's scan within its warp.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
fn scan_warps<T: DeviceType>(
    slots: Shared<Slots<T>>,
    scanned: T,
    op: impl Fn(T, T) -> T,
) -> (T, T) {
    let slots = slots.as_ptr().cast::<MaybeUninit<T>>();
    let (threads, me) = (block_threads(), thread_linear());
    let warps = threads.div_ceil(WARP);
    let is_last_lane = lane() == WARP - 1 || me == threads - 1;
    // Threads may still read the slots of the call before.
    barrier();
    if is_last_lane {
        // SAFETY: one thread of each warp writes its slot between barriers.
        unsafe { slots.add(warp() as usize).write(MaybeUninit::new(scanned)) };
    }
    barrier();
    if warps > 1 {
        if warp() == 0 {
            // Each lane touches its own slot only; lanes beyond the last warp
            // scan along with a value that nobody reads.
            let has_slot = lane() < warps;
            // SAFETY: in bounds, as a block has at most 32 warps.
            let slot = unsafe { slots.add(lane() as usize) };
            // SAFETY: slots below `warps` were written before the barrier.
            let value = if has_slot { unsafe { slot.read().assume_init() } } else { scanned };
            let sums = warp_inclusive_scan(value, &op);
            if has_slot {
                // SAFETY: the other warps wait at the barrier below.
                unsafe { slot.write(MaybeUninit::new(sums)) };
            }
        }
        barrier();
    }
    let before = if warp() == 0 { 0 } else { warp() - 1 };
    // SAFETY: both slots are written, and not again before the next call's
    // barrier.
    unsafe {
        (
            slots.add(before as usize).read().assume_init(),
            slots.add(warps as usize - 1).read().assume_init(),
        )
    }
}
