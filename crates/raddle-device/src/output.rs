//! Exclusive outputs: types through which each thread or block may write only
//! its own part, so that a kernel in which every thread writes `out[0]` does not
//! compile as safe code.
//!
//! | type | who owns what | launch |
//! |---|---|---|
//! | [`PerThread`] | thread `g` of the grid: elements `g`, `g + G`, … | 1-D |
//! | [`PerThreadChunks`] | thread `g` of the grid: chunks `g`, `g + G`, … of `N` elements | 1-D |
//! | [`PerWarp`] | warp `w` of the grid: chunks `w`, `w + W`, … of a length that the host gives | 1-D |
//! | [`PerBlock`] | block `b`: chunks `b`, `b + B`, … of a length that the host gives | 1-D |
//! | [`PerBlockTile`] | block `(x, y)`: tiles of a matrix, every `Bx`-th and `By`-th | 2-D |
//!
//! Invariant: for one launch, the parts that two threads can reach through safe
//! methods are disjoint. The partition is therefore fixed by the parameter's
//! type and by values that are the same in every thread, never by the caller.
//! The types are neither `Copy` nor [`AnyBits`](crate::AnyBits), so that a thread
//! can neither keep two handles nor give its own to another.

use crate::param::DeviceType;

mod per_block;
mod per_block_tile;
mod per_thread;
mod per_warp;

pub use per_block::{BlockChunk, PerBlock, PerBlockIter, RawChunks};
pub use per_block_tile::{BlockTile, BlockTileIter, PerBlockTile, PerBlockTileIter, RawMatrix};
pub use per_thread::{PerThread, PerThreadChunks, PerThreadChunksIter, PerThreadIter};
pub use per_warp::{PerWarp, PerWarpIter, WarpChunk};

/// Alignment in bytes that the host gives to outputs of which threads own
/// vectors of `N` elements: that of the vector, if it has a power of two of
/// bytes, and at most 16, the widest store.
#[must_use]
pub const fn vector_align<T: DeviceType, const N: usize>() -> usize {
    let bytes = size_of::<T>() * N;
    // The largest power of two that divides the vector.
    let natural = if bytes == 0 { 1 } else { 1 << bytes.trailing_zeros() };
    let wide = if natural > 16 { 16 } else { natural };
    if wide < align_of::<T>() { align_of::<T>() } else { wide }
}

/// Tells the optimiser that `ptr` has [`vector_align`], so that a vector is
/// written by one store.
///
/// # Safety
///
/// It has.
#[inline(always)]
unsafe fn assume_vector_align<T: DeviceType, const N: usize>(ptr: *mut T) -> *mut T {
    // SAFETY: by the caller's contract.
    unsafe { core::hint::assert_unchecked(ptr.addr().is_multiple_of(vector_align::<T, N>())) };
    ptr
}
