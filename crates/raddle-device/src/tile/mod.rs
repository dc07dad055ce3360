//! Tiles: matrix products on tensor cores that read like their mathematics.
//!
//! ```ignore
//! type Shape = Tiling<2, 2, 4, 8>; // 2×2 warps of 4×8 fragments: 128×128
//!
//! #[kernel(block = Shape::THREADS)]
//! fn product(a: &[f16], b: &[f16], mut c: TileMut<f16, Shape>, k: usize) {
//!     let (a, b) = (Matrix::new(a, c.rows(), k), Matrix::new(b, c.cols(), k));
//!     let (row, col) = c.place();
//!     let mut ring = shared!([Stage<SharedTile<f16, 128, 32>, SharedTile<f16, 128, 32>>; 3]);
//!     let mut acc = Accumulator::<f32, 4, 8>::zero();
//!     ring.stream(
//!         k.div_ceil(32),
//!         |step, left, right| {
//!             left.copy(&a, row, step * 32);
//!             right.copy(&b, col, step * 32);
//!         },
//!         |left, right| acc.add_product::<Shape, _, 128, 128, 32>(left, right),
//!     );
//!     c.write(acc.map(f16::from_f32)); // c = a * bᵀ
//! }
//! ```
//!
//! - [`Matrix`] is a view of global memory; [`SharedTile`] a tile in shared memory
//!   with a layout in which neither copies nor fragment loads have bank conflicts;
//!   [`Stage`]s of two tiles make a ring that [`Shared::stream`] keeps full with
//!   `cp.async`.
//! - [`Left`], [`Right`] and [`Accumulator`] are fragments in registers, multiplied by
//!   `mma.sync`.
//! - [`TileMut`] is an output in which each block owns one tile and each warp a part
//!   of it, both fixed by the type, so that writing it is safe.
//!
//! All is portable (`sm_80`). As with barriers, all threads of a block (or, for
//! fragments, of a warp) make the same calls.
//!
//! [`Shared::stream`]: crate::shared::Shared::stream

mod fragment;
mod matrix;
mod output;
mod ring;
mod shared_tile;

pub use fragment::{Accumulator, Left, MmaElement, Right};
pub use matrix::Matrix;
pub use output::TileMut;
pub use ring::{Stage, StageTile, TileWriter};
pub use shared_tile::SharedTile;

use crate::index::warp;

/// Rows of a fragment of A and of the accumulator.
pub const FRAGMENT_ROWS: usize = 16;
/// Columns of a fragment of B and of the accumulator.
pub const FRAGMENT_COLS: usize = 8;

/// How a block shares out its tile: `WARPS_M`×`WARPS_N` warps, each with
/// `M`×`N` fragments of 16×8 elements. Warp `w` has the part at
/// (`w / WARPS_N`, `w % WARPS_N`).
#[derive(Clone, Copy, Debug)]
pub struct Tiling<const WARPS_M: usize, const WARPS_N: usize, const M: usize, const N: usize>;

/// The numbers of a [`Tiling`].
///
/// # Safety
///
/// `ROWS` and `COLS` are the warps along each axis times the rows and cols of
/// a warp's part, and `WARPS` is the number of all warps.
pub unsafe trait TileShape: 'static {
    /// Warps that share the tile.
    const WARPS: usize;
    /// Warps along the columns.
    const WARPS_N: usize;
    /// Rows of the block's tile.
    const ROWS: usize;
    /// Columns of the block's tile.
    const COLS: usize;
    /// Rows of a warp's part.
    const WARP_ROWS: usize;
    /// Columns of a warp's part.
    const WARP_COLS: usize;
}

// SAFETY: as the trait asks.
unsafe impl<const WARPS_M: usize, const WARPS_N: usize, const M: usize, const N: usize> TileShape
    for Tiling<WARPS_M, WARPS_N, M, N>
{
    const WARPS: usize = WARPS_M * WARPS_N;
    const WARPS_N: usize = WARPS_N;
    const ROWS: usize = WARPS_M * M * FRAGMENT_ROWS;
    const COLS: usize = WARPS_N * N * FRAGMENT_COLS;
    const WARP_ROWS: usize = M * FRAGMENT_ROWS;
    const WARP_COLS: usize = N * FRAGMENT_COLS;
}

impl<const WARPS_M: usize, const WARPS_N: usize, const M: usize, const N: usize>
    Tiling<WARPS_M, WARPS_N, M, N>
{
    /// Threads of the block.
    pub const THREADS: u32 = (WARPS_M * WARPS_N * 32) as u32;
    /// Rows of the block's tile.
    pub const ROWS: usize = WARPS_M * M * FRAGMENT_ROWS;
    /// Columns of the block's tile.
    pub const COLS: usize = WARPS_N * N * FRAGMENT_COLS;
}

/// First row of this warp's part in the block's tile.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn warp_row<S: TileShape>() -> usize {
    warp() as usize / S::WARPS_N * S::WARP_ROWS
}

/// First column of this warp's part in the block's tile.
#[inline(always)]
#[must_use]
#[cfg_attr(not(raddle_device), track_caller)]
pub fn warp_col<S: TileShape>() -> usize {
    warp() as usize % S::WARPS_N * S::WARP_COLS
}
