//! Outputs that blocks share out by tiles of a row-major matrix.

use core::marker::PhantomData;

use super::assume_vector_align;
use crate::index::{block_threads, block_x, block_y, grid_dim_x, grid_dim_y, thread_linear};
use crate::param::{DeviceType, KernelParam, ParamRules, RawSlice};

/// A row-major matrix cut into tiles of `ROWS` by `COLS` elements. Block `(x, y)`
/// owns the tile in column `x` and row `y` of tiles, and those that lie whole
/// grids further. Within a tile, whose elements count along its rows, thread `t`
/// (linear index) owns the vectors `t`, `t + T`, … of `N` neighbouring elements of
/// a row, where `T` is the number of threads in the block. Launches are at most
/// two-dimensional.
///
/// Tiles at the right and lower edges may stick out of the matrix; elements
/// outside are nobody's.
///
/// The host gives the matrix [`vector_align`](super::vector_align), so that
/// storing a vector of 4, 8 or 16 bytes is one store.
pub struct PerBlockTile<T, const ROWS: usize, const COLS: usize, const N: usize = 1> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    /// Vectors from the start of one row to the next: places are counted in
    /// vectors, so that the optimiser sees that each is aligned.
    stride_vectors: usize,
}

/// How [`PerBlockTile`] travels.
///
/// The host checks that `stride >= cols`, so that rows do not overlap; that
/// the buffer holds `(rows - 1) * stride + cols` elements, if there are any; that `cols`
/// and `stride` are multiples of `N`; and the buffer's alignment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawMatrix {
    /// The whole buffer.
    pub slice: RawSlice,
    /// Rows of the matrix.
    pub rows: u64,
    /// Columns of the matrix.
    pub cols: u64,
    /// Elements from the start of one row to the next.
    pub stride: u64,
}

// SAFETY: the host checks that grid and block do not extend along z, so that
// `(block_x, block_y)` is different in every block and tiles of different blocks
// are disjoint; within a tile the linear thread index decides. Rows do not
// overlap, and whole vectors lie inside a row, by the host's checks.
unsafe impl<T: DeviceType, const ROWS: usize, const COLS: usize, const N: usize> KernelParam
    for PerBlockTile<T, ROWS, COLS, N>
{
    type Raw = RawMatrix;
    const RULES: ParamRules = ParamRules::TWO_D;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawMatrix) -> Self {
        const {
            assert!(
                N != 0 && ROWS != 0 && COLS != 0 && COLS.is_multiple_of(N),
                "a tile has rows of whole vectors"
            );
        }
        // SAFETY: the host described a live buffer, aligned as the type demands.
        unsafe {
            Self {
                ptr: assume_vector_align::<T, N>(RawSlice::pointer(&raw const (*raw).slice)),
                rows: (*raw).rows as usize,
                cols: (*raw).cols as usize,
                stride_vectors: (*raw).stride as usize / N,
            }
        }
    }
}

impl<T: DeviceType, const ROWS: usize, const COLS: usize, const N: usize>
    PerBlockTile<T, ROWS, COLS, N>
{
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

    /// The block's first tile, or `None` if the matrix has none for it.
    #[inline(always)]
    pub fn mine(&mut self) -> Option<BlockTile<'_, T, ROWS, COLS, N>> {
        self.iter_mut().next()
    }

    /// The block's tiles. Every thread of the block sees the same sequence, so
    /// barriers inside the loop are reached by all.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> PerBlockTileIter<'_, T, ROWS, COLS, N> {
        PerBlockTileIter {
            ptr: self.ptr,
            rows: self.rows,
            cols: self.cols,
            stride_vectors: self.stride_vectors,
            first_row: block_y() as usize * ROWS,
            first_col: block_x() as usize * COLS,
            life: PhantomData,
        }
    }
}

/// Iterator of [`PerBlockTile::iter_mut`].
pub struct PerBlockTileIter<'a, T, const ROWS: usize, const COLS: usize, const N: usize> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    stride_vectors: usize,
    /// Where the next tile begins.
    first_row: usize,
    first_col: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T, const ROWS: usize, const COLS: usize, const N: usize> Iterator
    for PerBlockTileIter<'a, T, ROWS, COLS, N>
{
    type Item = BlockTile<'a, T, ROWS, COLS, N>;
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.first_col >= self.cols {
            self.first_col = block_x() as usize * COLS;
            self.first_row += grid_dim_y() as usize * ROWS;
        }
        let (first_row, first_col) = (self.first_row, self.first_col);
        if first_row >= self.rows || first_col >= self.cols {
            return None;
        }
        self.first_col += grid_dim_x() as usize * COLS;
        Some(BlockTile {
            // SAFETY: the tile's first element lies in the matrix.
            ptr: unsafe { self.ptr.add((first_row * self.stride_vectors + first_col / N) * N) },
            stride_vectors: self.stride_vectors,
            first_row,
            first_col,
            rows: self.rows - first_row,
            cols: self.cols - first_col,
            life: PhantomData,
        })
    }
}

/// One tile of a [`PerBlockTile`] output, shared out among the block's threads.
pub struct BlockTile<'a, T, const ROWS: usize, const COLS: usize, const N: usize = 1> {
    /// The tile's first element.
    ptr: *mut T,
    stride_vectors: usize,
    first_row: usize,
    first_col: usize,
    /// Rows of the matrix from the tile's first on.
    rows: usize,
    /// Columns of the matrix from the tile's first on.
    cols: usize,
    life: PhantomData<&'a mut T>,
}

impl<T: DeviceType, const ROWS: usize, const COLS: usize, const N: usize>
    BlockTile<'_, T, ROWS, COLS, N>
{
    /// The matrix's row in which the tile begins.
    #[inline(always)]
    #[must_use]
    pub fn first_row(&self) -> usize {
        self.first_row
    }

    /// The matrix's column in which the tile begins.
    #[inline(always)]
    #[must_use]
    pub fn first_col(&self) -> usize {
        self.first_col
    }

    /// This thread's vectors inside the matrix, each with the row and the first
    /// column of the vector within the tile.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> BlockTileIter<'_, T, ROWS, COLS, N> {
        BlockTileIter {
            ptr: self.ptr,
            stride_vectors: self.stride_vectors,
            rows: self.rows,
            cols: self.cols,
            round: 0,
            life: PhantomData,
        }
    }

    /// The vector that begins at `row` and `col` of the tile, if it lies in the
    /// matrix and this thread owns it.
    #[inline(always)]
    pub fn get_mut(&mut self, row: usize, col: usize) -> Option<&mut [T; N]> {
        let is_inside = row < ROWS && col < COLS && row < self.rows && col < self.cols;
        if !is_inside || !col.is_multiple_of(N) {
            return None;
        }
        let vector = (row * COLS + col) / N;
        if vector % block_threads() as usize != thread_linear() as usize {
            return None;
        }
        // SAFETY: inside the matrix, where rows hold whole vectors; the vector
        // belongs to this thread only.
        Some(unsafe {
            &mut *self.ptr.add((row * self.stride_vectors + col / N) * N).cast::<[T; N]>()
        })
    }
}

/// Iterator of [`BlockTile::iter_mut`].
pub struct BlockTileIter<'a, T, const ROWS: usize, const COLS: usize, const N: usize> {
    ptr: *mut T,
    stride_vectors: usize,
    rows: usize,
    cols: usize,
    /// Vectors that this thread has been given or that lie outside.
    round: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T, const ROWS: usize, const COLS: usize, const N: usize> Iterator
    for BlockTileIter<'a, T, ROWS, COLS, N>
{
    type Item = (usize, usize, &'a mut [T; N]);
    /// Written out, where `filter` and `map` would say the same: whoever asks for the
    /// next vector in a loop shall find the body behind the test and not behind one
    /// more test of what the first one gave, which LLVM leaves in code for a GPU.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let vectors = ROWS * COLS / N;
        let threads = block_threads() as usize;
        // Counted in rounds, whose number is a constant where the block's shape is
        // stated; see `write_strided`.
        while self.round < vectors.div_ceil(threads) {
            let vector = thread_linear() as usize + self.round * threads;
            let (row, col) = (vector * N / COLS, vector * N % COLS);
            self.round += 1;
            if vector < vectors && row < self.rows && col < self.cols {
                let place = (row * self.stride_vectors + col / N) * N;
                // SAFETY: inside the matrix, where rows hold whole vectors; the
                // vector belongs to this thread only and is yielded once.
                return Some((row, col, unsafe { &mut *self.ptr.add(place).cast::<[T; N]>() }));
            }
        }
        None
    }
}
