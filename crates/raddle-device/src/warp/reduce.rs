//! Reductions and scans of any operation, over any lanes.
//!
//! All lanes of a warp is the common case and a plain butterfly; sets with gaps
//! (the last warp of a block, a mask of the caller's) take a path that asks at
//! each level which lane holds the other half's result. Both combine in the same
//! order.

#[cfg(not(raddle_device))]
use core::panic::Location;

#[cfg(not(raddle_device))]
use super::host;
use super::{Lanes, Shuffle};
use crate::index::{WARP, lane};
use crate::param::DeviceType;

impl Lanes {
    /// Reduces the values of each segment with `op` and gives the result to
    /// every lane of it.
    ///
    /// `op` must be associative; it need not be commutative. The order is fixed:
    /// neighbours are combined first, then pairs, fours and eights, the lower
    /// lane always on the left, `((v0·v1)·(v2·v3))·…`, leaving out lanes that are
    /// not in the set; so results are the same in every lane and every run.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn reduce<T: DeviceType>(self, value: T, op: impl Fn(T, T) -> T) -> T {
        let lanes = self.present();
        // SAFETY: the lanes exist, and they all make this call.
        unsafe { reduce_tree(lanes, lanes.mask, value, op) }
    }

    /// Combines the values of the lanes up to and including the caller's, in its
    /// segment. `op` must be associative; it need not be commutative.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn inclusive_scan<T: DeviceType>(self, value: T, op: impl Fn(T, T) -> T) -> T {
        let lanes = self.present();
        if lanes.mask == u32::MAX { lanes.scan_full(value, op) } else { lanes.scan_some(value, op) }
    }

    /// Combines the values of the lanes below the caller's, in its segment; the
    /// lowest gets `identity`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn exclusive_scan<T: DeviceType>(self, value: T, identity: T, op: impl Fn(T, T) -> T) -> T {
        let scanned = self.inclusive_scan(value, op);
        self.previous(scanned).unwrap_or(identity)
    }

    /// The value of the next lower lane of the set in the caller's segment, if
    /// there is one.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn previous<T: DeviceType>(self, value: T) -> Option<T> {
        let lanes = self.present();
        let before = lanes.lane_before();
        // SAFETY: `before` is a lane of the set, or the caller.
        let previous = unsafe { lanes.whole().shuffle_value(Shuffle::Index, value, before) };
        (before != lane()).then_some(previous)
    }

    /// The lanes of the set that this warp has.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    fn present(self) -> Self {
        let mask = self.mask & Self::of_block().mask;
        #[cfg(not(raddle_device))]
        host::require_present(mask, Location::caller());
        Self { mask, width: self.width }
    }

    /// The next lower lane of the set in the caller's segment; the caller's own
    /// if there is none.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    fn lane_before(self) -> u32 {
        let me = lane();
        let segment_start = me & !(self.width - 1);
        let below = self.mask & ((1 << me) - 1) & !((1 << segment_start) - 1);
        if below == 0 { me } else { WARP - 1 - below.leading_zeros() }
    }

    /// Hillis and Steele's scan, for a warp with all its lanes.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    fn scan_full<T: DeviceType>(self, value: T, op: impl Fn(T, T) -> T) -> T {
        let place = lane() & (self.width - 1);
        let mut sum = value;
        let mut delta = 1;
        while delta < self.width {
            // SAFETY: all lanes make this call.
            let below = unsafe { self.shuffle_value(Shuffle::Up, sum, delta) };
            if place >= delta {
                sum = op(below, sum);
            }
            delta *= 2;
        }
        sum
    }

    /// The same over any set of lanes: the lanes form a list by
    /// [`lane_before`](Self::lane_before), and each step doubles how far a lane's
    /// link reaches.
    #[cfg_attr(not(raddle_device), track_caller)]
    fn scan_some<T: DeviceType>(self, value: T, op: impl Fn(T, T) -> T) -> T {
        let (me, whole) = (lane(), self.whole());
        let mut sum = value;
        let mut link = self.lane_before();
        let mut reach = 1;
        while reach < self.width {
            // SAFETY: `link` is a lane of the set, and all of them make this call.
            let below = unsafe { whole.shuffle_value(Shuffle::Index, sum, link) };
            let next = whole.shuffle(link, link);
            // A lane whose link is itself has reached the start.
            if link != me {
                sum = op(below, sum);
                link = if next == link { me } else { next };
            }
            reach *= 2;
        }
        sum
    }
}

/// The tree of [`Lanes::reduce`]: `lanes` make the calls, `holding` says which of
/// them hold a value. Lanes that hold none get the result as well.
///
/// # Safety
///
/// Each lane of `lanes` exists and makes this call, and `holding` is a non-empty
/// part of them in each segment, the same in all lanes.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
pub(crate) unsafe fn reduce_tree<T: DeviceType>(
    lanes: Lanes,
    holding: u32,
    value: T,
    op: impl Fn(T, T) -> T,
) -> T {
    if holding == u32::MAX {
        reduce_full(lanes, value, op)
    } else {
        // SAFETY: by the caller's contract.
        unsafe { reduce_some(lanes, holding, value, op) }
    }
}

/// [`reduce_tree`] when all 32 lanes hold a value: a butterfly.
#[inline(always)]
#[cfg_attr(not(raddle_device), track_caller)]
fn reduce_full<T: DeviceType>(lanes: Lanes, value: T, op: impl Fn(T, T) -> T) -> T {
    let me = lane();
    let mut sum = value;
    let mut distance = 1;
    while distance < lanes.width {
        // SAFETY: all lanes make this call.
        let other = unsafe { lanes.shuffle_value(Shuffle::Xor, sum, distance) };
        let is_upper = me & distance != 0;
        let (low, high) = if is_upper { (other, sum) } else { (sum, other) };
        sum = op(low, high);
        distance *= 2;
    }
    sum
}

/// [`reduce_tree`] with gaps: at each level a lane reads any lane that holds the
/// other half's result.
///
/// # Safety
///
/// As [`reduce_tree`].
#[cfg_attr(not(raddle_device), track_caller)]
unsafe fn reduce_some<T: DeviceType>(
    lanes: Lanes,
    holding: u32,
    value: T,
    op: impl Fn(T, T) -> T,
) -> T {
    let (me, whole) = (lane(), lanes.whole());
    let mut sum = value;
    let mut distance = 1;
    while distance < lanes.width {
        let half = (1 << distance) - 1;
        let mine = (holding >> (me & !(distance - 1))) & half;
        let other_start = (me ^ distance) & !(distance - 1);
        let others = (holding >> other_start) & half;
        let source = if others == 0 { me } else { other_start + others.trailing_zeros() };
        // SAFETY: `source` is a lane that makes this call.
        let other = unsafe { whole.shuffle_value(Shuffle::Index, sum, source) };
        if others != 0 {
            let is_upper = me & distance != 0;
            let (low, high) = if is_upper { (other, sum) } else { (sum, other) };
            sum = if mine == 0 { other } else { op(low, high) };
        }
        distance *= 2;
    }
    sum
}
