//! How a block ends its tile: alone, or with the other blocks of its cluster.

use raddle::device::mbarrier::Mbarrier;
use raddle::prelude::*;

use super::parts::{self, Parts, can_split};
use super::result::{self, FINISHED_TOGETHER, Tile};
use super::{GROUP_THREADS, Half};

/// A tile, and what the blocks that share it need.
pub struct Ending<'a, T> {
    pub tile: Tile<'a, T>,
    /// Shared memory of [`parts::received_bytes`], if blocks share tiles.
    pub received: *mut u8,
    /// Counts what comes there; initialised for one arrival.
    pub arrived: &'a Mbarrier,
    /// Number of the block among those that share the tile, and how many they are.
    pub rank: u32,
    pub split: u32,
}

/// What a thread reads ahead of its sums.
pub struct Ahead<T> {
    whole: result::Ahead<FINISHED_TOGETHER>,
    part: parts::Ahead<T>,
}

impl<T: Half> Ahead<T> {
    /// Nothing yet.
    #[inline(always)]
    pub fn nothing() -> Self {
        Self { whole: result::Ahead::nothing(), part: parts::Ahead::nothing() }
    }
}

impl<T: Half> Ending<'_, T> {
    /// The block's part, if the tile is shared.
    #[inline(always)]
    fn parts<const GROUPS: usize, const R: usize>(&self) -> Option<Parts<'_, T>> {
        let received = self.received.cast();
        let Self { ref tile, arrived, rank, split, .. } = *self;
        let is_shared = can_split(GROUPS, 2 * R) && split > 1;
        is_shared.then_some(Parts { tile, received, arrived, rank, split })
    }

    /// Prepares the block: all threads call it together, before all else.
    #[inline(always)]
    pub fn begin<const GROUPS: usize, const R: usize>(&self) {
        if let Some(parts) = self.parts::<GROUPS, R>() {
            parts.expect::<GROUPS, R>();
        }
    }

    /// What this thread needs when the sums are there.
    ///
    /// # Safety
    ///
    /// The kernel before has ended.
    #[inline(always)]
    pub unsafe fn ahead<const GROUPS: usize, const R: usize>(
        &self,
        place: impl Fn(usize) -> Option<usize>,
    ) -> Ahead<T> {
        let mut ahead = Ahead::nothing();
        // SAFETY: the caller's contract.
        unsafe {
            match self.parts::<GROUPS, R>() {
                Some(parts) => ahead.part = parts.ahead::<GROUPS, R>(place),
                None => ahead.whole = self.tile.ahead::<GROUPS, R>(place),
            }
        }
        ahead
    }

    /// Gives what a consumer warpgroup has summed, 64 channels of `2 * R` pixels, to those
    /// who write it. `bias` is what [`Tile::bias`] gave.
    ///
    /// # Safety
    ///
    /// The threads of all consumers come here together, and nobody uses the tile's memory
    /// any more but they.
    #[inline(always)]
    pub unsafe fn hand_over<const GROUPS: usize, const R: usize>(
        &self,
        acc: &mut [f32; R],
        bias: [f32; 2],
        group: usize,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            match self.parts::<GROUPS, R>() {
                Some(parts) => parts.send::<GROUPS, R>(acc, group),
                None => {
                    // All have read what lay there.
                    NamedBarrier::<2>.sync((GROUPS * GROUP_THREADS) as u32);
                    self.tile.stage::<GROUPS, R>(acc, bias, group);
                }
            }
        }
    }

    /// Writes this block's pixels by all of its threads; `place` tells which pixel of the
    /// output one of the tile is, if any.
    ///
    /// # Safety
    ///
    /// Consumers have handed over, and the first warpgroup has ended its copies.
    #[inline(always)]
    pub unsafe fn finish<const GROUPS: usize, const R: usize>(
        &self,
        ahead: Ahead<T>,
        place: impl Fn(usize) -> Option<usize>,
    ) {
        // SAFETY: the caller's contract.
        unsafe {
            match self.parts::<GROUPS, R>() {
                Some(parts) => {
                    if thread_x() < GROUP_THREADS as u32 {
                        parts.leave();
                    }
                    parts.finish::<GROUPS, R>(ahead.part, place);
                }
                None => {
                    barrier();
                    self.tile.finish::<GROUPS, R>(ahead.whole, place);
                }
            }
        }
    }
}
