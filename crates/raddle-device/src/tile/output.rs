//! [`TileMut`]: a matrix of which each block writes one tile and each warp its
//! part of it.

use core::marker::PhantomData;

use super::fragment::Accumulator;
use super::{FRAGMENT_COLS, FRAGMENT_ROWS, TileShape, warp_col, warp_row};
use crate::bits::AnyBits;
use crate::index::{block_x, block_y, lane, warp};
use crate::matrix::accumulator_place;
use crate::output::RawMatrix;
use crate::param::{DeviceType, KernelParam, ParamRules, RawSlice};
use crate::unroll::unroll;

/// A row-major output matrix cut into tiles: block (x, y) of a two-dimensional
/// grid owns the tile in tile row `y` and tile column `x`, and within it each warp
/// the part that the shape `S` gives it, each lane its elements of the 16×8
/// accumulators there. All of this is fixed by the type, so that no two threads
/// reach the same element.
pub struct TileMut<T, S> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    stride: usize,
    shape: PhantomData<S>,
}

// SAFETY: the host checks that grid and block have at most two dimensions, so that
// block indices along x and y and the linear thread index tell all threads apart,
// and the tiles and parts of different ones are disjoint. The host checks that
// the slice holds rows of `cols` elements, `stride` apart.
unsafe impl<T: DeviceType, S: TileShape> KernelParam for TileMut<T, S> {
    type Raw = RawMatrix;
    const RULES: ParamRules = ParamRules::TWO_D;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawMatrix) -> Self {
        // SAFETY: the host wrote the address of a live buffer, not zero.
        let ptr = unsafe { RawSlice::pointer(&raw const (*raw).slice) };
        // SAFETY: the parameter block holds the matrix.
        let raw = unsafe { *raw };
        Self {
            ptr,
            rows: raw.rows as usize,
            cols: raw.cols as usize,
            stride: raw.stride as usize,
            shape: PhantomData,
        }
    }
}

impl<T: DeviceType, S: TileShape> TileMut<T, S> {
    /// Rows of the matrix.
    #[inline(always)]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of the matrix.
    #[inline(always)]
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// First row and column of this block's tile; outside of the matrix if the grid
    /// is larger than it.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn place(&self) -> (usize, usize) {
        (block_y() as usize * S::ROWS, block_x() as usize * S::COLS)
    }

    /// Writes this warp's part; elements outside of the matrix are left out.
    ///
    /// # Panics
    ///
    /// If the block has more warps than the shape.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn write<const M: usize, const N: usize>(&mut self, part: Accumulator<T, M, N>)
    where
        T: AnyBits,
    {
        self.update(part, |_, new| new);
    }

    /// Sets each element of this warp's part to `function(old, new)`; elements
    /// outside of the matrix are left out.
    ///
    /// # Panics
    ///
    /// If the block has more warps than the shape.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn update<U: AnyBits, const M: usize, const N: usize>(
        &mut self,
        part: Accumulator<U, M, N>,
        mut function: impl FnMut(T, U) -> T,
    ) {
        const {
            assert!(
                S::WARP_ROWS == M * FRAGMENT_ROWS && S::WARP_COLS == N * FRAGMENT_COLS,
                "the accumulator has the fragments of the tiling"
            );
        };
        assert!((warp() as usize) < S::WARPS, "the block has more warps than its tiling");
        let (row, col) = self.place();
        let (row, col) = (row + warp_row::<S>(), col + warp_col::<S>());
        unroll::<M>(|i| {
            unroll::<N>(|j| {
                let sums = part.fragment(i, j);
                unroll::<2>(|half| {
                    let (r, c) = accumulator_place(lane(), 2 * half as u32);
                    let (r, c) = (row + 16 * i + r as usize, col + 8 * j + c as usize);
                    let pair = [sums[2 * half], sums[2 * half + 1]];
                    self.update_pair(r, c, pair, &mut function);
                });
            });
        });
    }

    /// Two neighbours in a row, by one access where their address allows it.
    #[inline(always)]
    fn update_pair<U>(
        &mut self,
        row: usize,
        col: usize,
        [low, high]: [U; 2],
        function: &mut impl FnMut(T, U) -> T,
    ) {
        if row >= self.rows || col >= self.cols {
            return;
        }
        // SAFETY: the place is inside, and its owner is this lane.
        let first = unsafe { self.ptr.add(row * self.stride + col) };
        let is_pair = first.addr().is_multiple_of(2 * size_of::<T>());
        if col + 1 < self.cols && is_pair {
            // SAFETY: both neighbours are inside, and this lane's.
            let [old_low, old_high] = unsafe { first.cast::<[T; 2]>().read() };
            let new = [function(old_low, low), function(old_high, high)];
            // SAFETY: as above; the address is aligned to the pair.
            unsafe { write_pair(first, new) };
            return;
        }
        // SAFETY: as above.
        unsafe { first.write(function(first.read(), low)) };
        if col + 1 < self.cols {
            // SAFETY: as above.
            unsafe { first.add(1).write(function(first.add(1).read(), high)) };
        }
    }
}

/// Writes two neighbours, those of 2 and 4 bytes by one access.
///
/// # Safety
///
/// `first` is valid for writing two elements and aligned to both together.
#[inline(always)]
unsafe fn write_pair<T: DeviceType>(first: *mut T, pair: [T; 2]) {
    // SAFETY: by the caller's contract; each arm copies the bytes of the pair.
    unsafe {
        match size_of::<T>() {
            2 => first.cast::<u32>().write(core::mem::transmute_copy(&pair)),
            4 => first.cast::<u64>().write(core::mem::transmute_copy(&pair)),
            _ => first.cast::<[T; 2]>().write(pair),
        }
    }
}
