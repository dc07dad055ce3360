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
#[cfg(not(raddle_device))]
use crate::index::lane;
use crate::index::{WARP, block_threads, warp};
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

    /// The same lanes as one segment, so that lanes are counted from 0 to 31.
    #[inline(always)]
    const fn whole(self) -> Self {
        Self { mask: self.mask, width: WARP }
    }
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

mod reduce;
mod redux;
mod vote;

pub(crate) use reduce::reduce_tree;
pub use redux::Redux;
pub use vote::{active_mask, lane_mask_eq, lane_mask_ge, lane_mask_gt, lane_mask_le, lane_mask_lt};

#[cfg(not(raddle_device))]
mod host;
