//! Operations among the lanes of a warp: shuffles, votes, matches, reductions
//! and scans.
//!
//! Every operation is made by a set of [`Lanes`]; the free functions stand for
//! all 32. All lanes of the set make the same call, and the call orders them as
//! a warp barrier orders control, not memory. A lane that returned from the
//! kernel, or that the block never had, does not hold the others up; reading its
//! value gives unspecified bits, which is why shuffles take [`AnyBits`] types.
//! Reductions and scans read live lanes only and take any device type of at most
//! 16 bytes.
//!
//! *Source*: PTX ISA, "Parallel Synchronization and Communication Instructions":
//! `shfl.sync`, `vote.sync`, `match.sync`, `redux.sync`, `activemask`, `elect.sync`.

#[cfg(raddle_device)]
use core::mem::MaybeUninit;
#[cfg(not(raddle_device))]
use core::panic::Location;

use crate::bits::AnyBits;
use crate::index::{WARP, block_threads, lane, warp};
use crate::param::DeviceType;

intrinsics! {
    WARPS, "Parallel Synchronization and Communication Instructions: shfl.sync, vote.sync, match.sync, redux.sync";
    fn shfl_idx(value: MaybeUninit<u32>, lane: u32, clamp: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r,r,r:shfl.sync.idx.b32 $0, $1, $2, $3, $4;", sm 30, ptx 60;
    fn shfl_up(value: MaybeUninit<u32>, delta: u32, clamp: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r,r,r:shfl.sync.up.b32 $0, $1, $2, $3, $4;", sm 30, ptx 60;
    fn shfl_down(value: MaybeUninit<u32>, delta: u32, clamp: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r,r,r:shfl.sync.down.b32 $0, $1, $2, $3, $4;", sm 30, ptx 60;
    fn shfl_bfly(value: MaybeUninit<u32>, lanes: u32, clamp: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r,r,r:shfl.sync.bfly.b32 $0, $1, $2, $3, $4;", sm 30, ptx 60;
    fn vote_all(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:{ .reg .pred p, q; setp.ne.u32 p, $1, 0; vote.sync.all.pred q, p, $2; selp.u32 $0, 1, 0, q; }", sm 30, ptx 60;
    fn vote_any(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:{ .reg .pred p, q; setp.ne.u32 p, $1, 0; vote.sync.any.pred q, p, $2; selp.u32 $0, 1, 0, q; }", sm 30, ptx 60;
    fn vote_uni(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:{ .reg .pred p, q; setp.ne.u32 p, $1, 0; vote.sync.uni.pred q, p, $2; selp.u32 $0, 1, 0, q; }", sm 30, ptx 60;
    fn vote_ballot(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:{ .reg .pred p; setp.ne.u32 p, $1, 0; vote.sync.ballot.b32 $0, p, $2; }", sm 30, ptx 60;
    fn match_any_32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:match.any.sync.b32 $0, $1, $2;", sm 70, ptx 60;
    fn match_any_64(value: u64, mask: u32) -> u32 = "raddle.asm.c.v:=r,l,r:match.any.sync.b64 $0, $1, $2;", sm 70, ptx 60;
    fn match_all_32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:{ .reg .pred p; match.all.sync.b32 $0|p, $1, $2; }", sm 70, ptx 60;
    fn match_all_64(value: u64, mask: u32) -> u32 = "raddle.asm.c.v:=r,l,r:{ .reg .pred p; match.all.sync.b64 $0|p, $1, $2; }", sm 70, ptx 60;
    fn redux_add_u32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.add.u32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_min_u32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.min.u32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_max_u32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.max.u32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_min_s32(value: i32, mask: u32) -> i32 = "raddle.asm.c.v:=r,r,r:redux.sync.min.s32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_max_s32(value: i32, mask: u32) -> i32 = "raddle.asm.c.v:=r,r,r:redux.sync.max.s32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_and_b32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.and.b32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_or_b32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.or.b32 $0, $1, $2;", sm 80, ptx 70;
    fn redux_xor_b32(value: u32, mask: u32) -> u32 = "raddle.asm.c.v:=r,r,r:redux.sync.xor.b32 $0, $1, $2;", sm 80, ptx 70;
    fn read_activemask() -> u32 = "raddle.asm.c.v:=r:activemask.b32 $0;", sm 30, ptx 62;
    fn elect_sync(mask: u32) -> u32 = "raddle.asm.c.v:=r,r:{ .reg .pred p; .reg .b32 leader; elect.sync leader|p, $1; selp.u32 $0, 1, 0, p; }", sm 90, ptx 80;
    fn read_lanemask_eq() -> u32 = "raddle.asm:=r:mov.u32 $0, %lanemask_eq;", sm 20, ptx 20;
    fn read_lanemask_lt() -> u32 = "raddle.asm:=r:mov.u32 $0, %lanemask_lt;", sm 20, ptx 20;
    fn read_lanemask_le() -> u32 = "raddle.asm:=r:mov.u32 $0, %lanemask_le;", sm 20, ptx 20;
    fn read_lanemask_gt() -> u32 = "raddle.asm:=r:mov.u32 $0, %lanemask_gt;", sm 20, ptx 20;
    fn read_lanemask_ge() -> u32 = "raddle.asm:=r:mov.u32 $0, %lanemask_ge;", sm 20, ptx 20;
}

/// The lanes that make a warp operation together, and the width of the segments
/// into which shuffles, reductions and scans divide the warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    mask: u32,
    width: u32,
}

/// How a shuffle finds the lane it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shuffle {
    Index,
    Up,
    Down,
    Xor,
}

impl Lanes {
    /// All 32 lanes, as one segment.
    pub const ALL: Self = Self { mask: u32::MAX, width: WARP };

    /// The lanes whose bits are set in `mask`. Each of them, and no other lane,
    /// makes the operation.
    #[inline(always)]
    #[must_use]
    pub const fn of(mask: u32) -> Self {
        Self { mask, width: WARP }
    }

    /// The lanes this warp has: all 32, or fewer in the last warp of a block
    /// whose size is not a multiple of 32.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn of_block() -> Self {
        let threads = block_threads() - warp() * WARP;
        Self::of(if threads >= WARP { u32::MAX } else { (1 << threads) - 1 })
    }

    /// The same lanes in segments of `width` lanes, a power of two up to 32:
    /// `width` of CUDA's shuffles.
    ///
    /// # Panics
    ///
    /// If `width` is not 1, 2, 4, 8, 16 or 32.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub const fn segments(self, width: u32) -> Self {
        assert!(
            width.is_power_of_two() && width <= WARP,
            "the width of warp segments is a power of two up to 32"
        );
        Self { mask: self.mask, width }
    }

    /// One bit for each lane of the set.
    #[inline(always)]
    #[must_use]
    pub const fn mask(self) -> u32 {
        self.mask
    }

    /// `__shfl_sync`: the value of lane `lane`, counted in the caller's segment
    /// and taken modulo its width (PTX `shfl.sync.idx`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn shuffle<T: AnyBits>(self, value: T, lane: u32) -> T {
        // SAFETY: every bit pattern is a valid `T`.
        unsafe { self.shuffle_value(Shuffle::Index, value, lane) }
    }

    /// `__shfl_up_sync`: the value of the lane `delta` below, or the caller's own
    /// where that lies before its segment (PTX `shfl.sync.up`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn shuffle_up<T: AnyBits>(self, value: T, delta: u32) -> T {
        // SAFETY: every bit pattern is a valid `T`.
        unsafe { self.shuffle_value(Shuffle::Up, value, delta) }
    }

    /// `__shfl_down_sync`: the value of the lane `delta` above, or the caller's
    /// own where that lies behind its segment (PTX `shfl.sync.down`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn shuffle_down<T: AnyBits>(self, value: T, delta: u32) -> T {
        // SAFETY: every bit pattern is a valid `T`.
        unsafe { self.shuffle_value(Shuffle::Down, value, delta) }
    }

    /// `__shfl_xor_sync`: the value of the lane whose number differs in the bits
    /// of `lanes`, or the caller's own where that lies behind its segment (PTX
    /// `shfl.sync.bfly`).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn shuffle_xor<T: AnyBits>(self, value: T, lanes: u32) -> T {
        // SAFETY: every bit pattern is a valid `T`.
        unsafe { self.shuffle_value(Shuffle::Xor, value, lanes) }
    }

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

    /// Whether `value` holds in all lanes: `__all_sync`, PTX `vote.sync.all`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn all(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_all(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, value, Location::caller());
            votes.yes == votes.voters
        }
    }

    /// Whether `value` holds in any lane: `__any_sync`, PTX `vote.sync.any`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn any(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_any(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            host::ballot(self.mask, value, Location::caller()).yes != 0
        }
    }

    /// Whether `value` is the same in all lanes: PTX `vote.sync.uni`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn uniform(self, value: bool) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_uni(u32::from(value), self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, value, Location::caller());
            votes.yes == 0 || votes.yes == votes.voters
        }
    }

    /// One bit for each lane in which `value` holds: `__ballot_sync`, PTX
    /// `vote.sync.ballot`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn ballot(self, value: bool) -> u32 {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only votes.
        unsafe {
            vote_ballot(u32::from(value), self.mask)
        }
        #[cfg(not(raddle_device))]
        {
            host::ballot(self.mask, value, Location::caller()).yes
        }
    }

    /// The lanes whose value has the same bits as the caller's:
    /// `__match_any_sync`, PTX `match.any.sync` (sm_70).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn match_any<T: AnyBits>(self, value: T) -> u32 {
        let bits = value_bits(value);
        #[cfg(raddle_device)]
        // SAFETY: the instruction only compares.
        unsafe {
            if size_of::<T>() <= 4 {
                match_any_32(bits as u32, self.mask)
            } else {
                match_any_64(bits, self.mask)
            }
        }
        #[cfg(not(raddle_device))]
        {
            host::matching(self.mask, bits, Location::caller()).same
        }
    }

    /// The mask of the lanes if all have the same bits, else `None`:
    /// `__match_all_sync`, PTX `match.all.sync` (sm_70).
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn match_all<T: AnyBits>(self, value: T) -> Option<u32> {
        let bits = value_bits(value);
        #[cfg(raddle_device)]
        // SAFETY: the instruction only compares.
        let mask = unsafe {
            if size_of::<T>() <= 4 {
                match_all_32(bits as u32, self.mask)
            } else {
                match_all_64(bits, self.mask)
            }
        };
        #[cfg(not(raddle_device))]
        let mask = {
            let matching = host::matching(self.mask, bits, Location::caller());
            if matching.same == matching.lanes { matching.lanes } else { 0 }
        };
        (mask != 0).then_some(mask)
    }

    /// Whether the caller is the one lane chosen to act for the set: PTX
    /// `elect.sync` (sm_90). The lowest lane is chosen on the CPU device.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn elect(self) -> bool {
        #[cfg(raddle_device)]
        // SAFETY: the instruction only chooses.
        unsafe {
            elect_sync(self.mask) != 0
        }
        #[cfg(not(raddle_device))]
        {
            let votes = host::ballot(self.mask, true, Location::caller());
            votes.yes.trailing_zeros() == lane()
        }
    }

    /// The shuffle behind all others, for any device type of at most 16 bytes.
    ///
    /// # Safety
    ///
    /// The lane that is read makes the same call, or every bit pattern is a
    /// valid `T`.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    unsafe fn shuffle_value<T: DeviceType>(self, kind: Shuffle, value: T, operand: u32) -> T {
        const {
            assert!(
                size_of::<T>() <= crate::bits::LANE_VALUE_BYTES_MAX,
                "values of at most 16 bytes cross lanes in one call"
            );
        }
        #[cfg(raddle_device)]
        {
            // The segment mask in bits 8 to 12, and the bound of the segment.
            let segments = (WARP - self.width) << 8;
            let clamp = segments | if kind == Shuffle::Up { 0 } else { WARP - 1 };
            let exchange = |word| {
                // SAFETY: the instruction only moves registers.
                unsafe {
                    match kind {
                        Shuffle::Index => shfl_idx(word, operand, clamp, self.mask),
                        Shuffle::Up => shfl_up(word, operand, clamp, self.mask),
                        Shuffle::Down => shfl_down(word, operand, clamp, self.mask),
                        Shuffle::Xor => shfl_bfly(word, operand, clamp, self.mask),
                    }
                }
            };
            // SAFETY: the words are those of one lane's `T`, by the caller's
            // contract.
            unsafe { crate::bits::exchange_words(value, exchange) }
        }
        #[cfg(not(raddle_device))]
        {
            let source = host::source_lane(kind, lane(), operand, self.width);
            // SAFETY: by the caller's contract.
            unsafe { host::value_of(self.mask, value, source, Location::caller()) }
        }
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

    /// The same lanes as one segment, so that lanes are counted from 0 to 31.
    #[inline(always)]
    const fn whole(self) -> Self {
        Self { mask: self.mask, width: WARP }
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

/// The bits of a value of at most 8 bytes, as an integer.
#[inline(always)]
fn value_bits<T: AnyBits>(value: T) -> u64 {
    const { assert!(size_of::<T>() <= 8, "lanes match values of at most 8 bytes") };
    let mut bits = 0u64;
    // SAFETY: `T` has no padding and fits; both machines are little-endian.
    unsafe {
        core::ptr::copy_nonoverlapping(
            (&raw const value).cast::<u8>(),
            (&raw mut bits).cast::<u8>(),
            size_of::<T>(),
        );
    }
    bits
}

macro_rules! whole_warp {
    ($($(#[$doc:meta])* fn $name:ident[$($param:tt)*]($($arg:ident: $ty:ty),*) -> $ret:ty = $method:ident;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub fn $name<$($param)*>($($arg: $ty),*) -> $ret {
            Lanes::ALL.$method($($arg),*)
        }
    )* };
}

whole_warp! {
    /// [`Lanes::shuffle`] in the whole warp.
    fn shuffle[T: AnyBits](value: T, lane: u32) -> T = shuffle;
    /// [`Lanes::shuffle_up`] in the whole warp.
    fn shuffle_up[T: AnyBits](value: T, delta: u32) -> T = shuffle_up;
    /// [`Lanes::shuffle_down`] in the whole warp.
    fn shuffle_down[T: AnyBits](value: T, delta: u32) -> T = shuffle_down;
    /// [`Lanes::shuffle_xor`] in the whole warp.
    fn shuffle_xor[T: AnyBits](value: T, lanes: u32) -> T = shuffle_xor;
    /// [`Lanes::all`] in the whole warp.
    fn warp_all[](value: bool) -> bool = all;
    /// [`Lanes::any`] in the whole warp.
    fn warp_any[](value: bool) -> bool = any;
    /// [`Lanes::ballot`] in the whole warp.
    fn ballot[](value: bool) -> u32 = ballot;
    /// [`Lanes::reduce`] over the warp's lanes.
    fn warp_reduce[T: DeviceType](value: T, op: impl Fn(T, T) -> T) -> T = reduce;
    /// [`Lanes::inclusive_scan`] over the warp's lanes.
    fn warp_inclusive_scan[T: DeviceType](value: T, op: impl Fn(T, T) -> T) -> T = inclusive_scan;
    /// [`Lanes::exclusive_scan`] over the warp's lanes.
    fn warp_exclusive_scan[T: DeviceType](value: T, identity: T, op: impl Fn(T, T) -> T) -> T = exclusive_scan;
}

/// Integers that `redux.sync` reduces.
pub trait Redux: AnyBits + sealed::Sealed {
    /// Wrapping sum.
    #[doc(hidden)]
    fn redux_add(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_min(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_max(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_and(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_or(self, lanes: Lanes) -> Self;
    #[doc(hidden)]
    fn redux_xor(self, lanes: Lanes) -> Self;
}

mod sealed {
    /// Keeps [`Redux`](super::Redux) to the types the instruction has.
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for i32 {}
}

macro_rules! redux {
    ($ty:ty; $($method:ident, $device:ident, |$a:ident, $b:ident| $host:expr;)*) => {
        impl Redux for $ty { $(
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            fn $method(self, lanes: Lanes) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: the instruction only moves registers.
                unsafe {
                    $device(self as _, lanes.mask) as Self
                }
                #[cfg(not(raddle_device))]
                {
                    host::fold(lanes.mask, self, |$a, $b| $host, Location::caller())
                }
            }
        )* }
    };
}

redux! { u32;
    redux_add, redux_add_u32, |a, b| a.wrapping_add(b);
    redux_min, redux_min_u32, |a, b| a.min(b);
    redux_max, redux_max_u32, |a, b| a.max(b);
    redux_and, redux_and_b32, |a, b| a & b;
    redux_or, redux_or_b32, |a, b| a | b;
    redux_xor, redux_xor_b32, |a, b| a ^ b;
}

redux! { i32;
    redux_add, redux_add_u32, |a, b| a.wrapping_add(b);
    redux_min, redux_min_s32, |a, b| a.min(b);
    redux_max, redux_max_s32, |a, b| a.max(b);
    redux_and, redux_and_b32, |a, b| a & b;
    redux_or, redux_or_b32, |a, b| a | b;
    redux_xor, redux_xor_b32, |a, b| a ^ b;
}

macro_rules! redux_methods {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        impl Lanes { $(
            $(#[$doc])*
            ///
            /// One instruction (sm_80); segments are not regarded.
            #[inline(always)]
            #[cfg_attr(not(raddle_device), track_caller)]
            pub fn $name<T: Redux>(self, value: T) -> T {
                value.$name(self)
            }
        )* }
    };
}

redux_methods! {
    /// The wrapping sum over the set: `__reduce_add_sync`, PTX `redux.sync.add`.
    redux_add;
    /// The least value: `__reduce_min_sync`, PTX `redux.sync.min`.
    redux_min;
    /// The greatest value: `__reduce_max_sync`, PTX `redux.sync.max`.
    redux_max;
    /// The bitwise and: `__reduce_and_sync`, PTX `redux.sync.and`.
    redux_and;
    /// The bitwise or: `__reduce_or_sync`, PTX `redux.sync.or`.
    redux_or;
    /// The bitwise exclusive or: `__reduce_xor_sync`, PTX `redux.sync.xor`.
    redux_xor;
}

/// Lanes that execute this call together right now: `__activemask()`, PTX
/// `activemask`.
///
/// It synchronises nothing and says nothing about lanes that might join later;
/// on the CPU device it is the caller's lane alone, which is one of the answers
/// the hardware may give.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn active_mask() -> u32 {
    #[cfg(raddle_device)]
    // SAFETY: reads a register.
    unsafe {
        read_activemask()
    }
    #[cfg(not(raddle_device))]
    {
        1 << lane()
    }
}

macro_rules! lane_masks {
    ($($(#[$doc:meta])* $name:ident, $device:ident, |$bit:ident| $host:expr;)*) => { $(
        $(#[$doc])*
        #[inline(always)]
        #[must_use]
        #[cfg_attr(not(raddle_device), track_caller)]
        pub fn $name() -> u32 {
            #[cfg(raddle_device)]
            // SAFETY: reads a register.
            unsafe {
                $device()
            }
            #[cfg(not(raddle_device))]
            {
                let $bit = 1u32 << lane();
                $host
            }
        }
    )* };
}

lane_masks! {
    /// The caller's lane as a mask (PTX `%lanemask_eq`).
    lane_mask_eq, read_lanemask_eq, |bit| bit;
    /// The lanes below the caller's (PTX `%lanemask_lt`).
    lane_mask_lt, read_lanemask_lt, |bit| bit - 1;
    /// The lanes up to and including the caller's (PTX `%lanemask_le`).
    lane_mask_le, read_lanemask_le, |bit| bit | (bit - 1);
    /// The lanes above the caller's (PTX `%lanemask_gt`).
    lane_mask_gt, read_lanemask_gt, |bit| !(bit | (bit - 1));
    /// The lanes from the caller's upwards (PTX `%lanemask_ge`).
    lane_mask_ge, read_lanemask_ge, |bit| !(bit - 1);
}

#[cfg(not(raddle_device))]
mod host;
