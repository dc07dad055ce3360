//! [`SharedTile`]: a tile in shared memory, its 16-byte chunks permuted so that
//! neither rows nor columns of chunks fall into the same banks.
//!
//! Chunk `c` of row `r` lies where the swizzle of the row's length puts it (see
//! [`Swizzle`]): for rows of 128 bytes at chunk `c ^ r % 8`, so that the eight rows
//! of an 8×8 matrix, read by `ldmatrix`, cover all 32 banks. Rows longer than 128
//! bytes permute their chunks in groups of eight.
//!
//! [`Swizzle`]: crate::matrix::Swizzle

use core::cell::UnsafeCell;

use super::fragment::{Left, MmaElement, Right};
use crate::bits::AnyBits;
use crate::index::lane;
use crate::matrix::{ldmatrix_x2, ldmatrix_x2_trans, ldmatrix_x4, ldmatrix_x4_trans};
use crate::unroll::unrolled;

/// Bytes of a chunk: what a thread copies at a time and `ldmatrix` reads as a row.
pub(super) const CHUNK_BYTES: usize = 16;

/// `ROWS` rows of `COLS` elements in shared memory.
///
/// A row has 32, 64 or a multiple of 128 bytes. Tiles are filled through a
/// [`TileWriter`](super::TileWriter) and read as fragments.
#[repr(C, align(128))]
pub struct SharedTile<T, const ROWS: usize, const COLS: usize> {
    elements: UnsafeCell<[[T; COLS]; ROWS]>,
}

impl<T: AnyBits, const ROWS: usize, const COLS: usize> SharedTile<T, ROWS, COLS> {
    const ROW_BYTES: usize = COLS * size_of::<T>();
    /// Elements of a chunk.
    pub(super) const CHUNK_LEN: usize = CHUNK_BYTES / size_of::<T>();
    /// Chunks of a row.
    pub(super) const CHUNKS: usize = Self::ROW_BYTES / CHUNK_BYTES;

    const fn assert_layout() {
        let row = Self::ROW_BYTES;
        assert!(
            row == 32 || row == 64 || row % 128 == 0 && row > 0,
            "a row of a shared tile has 32, 64 or a multiple of 128 bytes"
        );
    }

    /// Address of a chunk.
    #[inline(always)]
    pub(super) fn chunk(tile: *const Self, row: usize, chunk: usize) -> *const T {
        const { Self::assert_layout() };
        let offset = if Self::ROW_BYTES >= 128 {
            row * Self::ROW_BYTES + (chunk ^ (row % 8)) * CHUNK_BYTES
        } else {
            let linear = row * Self::ROW_BYTES + chunk * CHUNK_BYTES;
            linear ^ (((linear >> 7) & (Self::CHUNKS - 1)) << 4)
        };
        tile.cast::<u8>().wrapping_add(offset).cast()
    }

    /// The element in a row and column; for odd accesses, not for products.
    ///
    /// # Panics
    ///
    /// If the place lies outside of the tile.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, row: usize, col: usize) -> T {
        assert!(row < ROWS && col < COLS, "a place inside of the shared tile");
        let chunk = Self::chunk(self, row, col / Self::CHUNK_LEN);
        // SAFETY: within the tile; while there is a `&SharedTile`, nobody writes.
        unsafe { chunk.add(col % Self::CHUNK_LEN).read() }
    }
}

impl<T: MmaElement, const ROWS: usize, const COLS: usize> SharedTile<T, ROWS, COLS> {
    /// `M` fragments of A below each other, from `row` and `k` on, of a tile that
    /// is indexed by (row of A, `k`). All lanes of the warp make the call.
    ///
    /// # Panics
    ///
    /// If the fragments reach out of the tile.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn left<const M: usize>(&self, row: usize, k: usize) -> [Left<T>; M] {
        Self::assert_inside(row, M * 16, k, T::K);
        let lane = lane() as usize;
        unrolled(|i| {
            let chunk = k / Self::CHUNK_LEN + lane / 16;
            let place = Self::chunk(self, row + 16 * i + lane % 16, chunk);
            // SAFETY: rows of the tile, aligned chunks; nobody writes the tile.
            Left::from_registers(unsafe { ldmatrix_x4(place) })
        })
    }

    /// `N` fragments of B beside each other, from `col` and `k` on, of a tile
    /// that is indexed by (column of B, `k`): Bᵀ row-major. All lanes of the warp
    /// make the call.
    ///
    /// # Panics
    ///
    /// If the fragments reach out of the tile.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn right<const N: usize>(&self, col: usize, k: usize) -> [Right<T>; N] {
        Self::assert_inside(col, N * 8, k, T::K);
        let lane = lane() as usize;
        let chunk = k / Self::CHUNK_LEN + lane / 8 % 2;
        load_pairs(
            // SAFETY: rows of the tile, aligned chunks; nobody writes the tile.
            |j| unsafe {
                ldmatrix_x4(Self::chunk(self, col + 8 * j + lane % 8 + lane / 16 * 8, chunk))
            },
            // SAFETY: as above.
            |j| unsafe { ldmatrix_x2(Self::chunk(self, col + 8 * j + lane % 8, chunk)) },
        )
    }

    /// `N` fragments of B beside each other, from `k` and `col` on, of a tile that
    /// is indexed by (`k`, column of B): B row-major, of 16-bit elements. All lanes
    /// of the warp make the call.
    ///
    /// # Panics
    ///
    /// If the fragments reach out of the tile.
    #[inline(always)]
    #[must_use]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn right_rows<const N: usize>(&self, k: usize, col: usize) -> [Right<T>; N] {
        const { assert!(size_of::<T>() == 2, "only 16-bit elements can be transposed") };
        Self::assert_inside(k, T::K, col, N * 8);
        let lane = lane() as usize;
        let (row, chunk) = (k + lane % 16, col / Self::CHUNK_LEN);
        load_pairs(
            // SAFETY: rows of the tile, aligned chunks; nobody writes the tile.
            |j| unsafe { ldmatrix_x4_trans(Self::chunk(self, row, chunk + j + lane / 16)) },
            // SAFETY: as above.
            |j| unsafe { ldmatrix_x2_trans(Self::chunk(self, row, chunk + j)) },
        )
    }

    #[inline(always)]
    fn assert_inside(row: usize, rows: usize, col: usize, cols: usize) {
        assert!(
            row <= ROWS && rows <= ROWS - row && col <= COLS && cols <= COLS - col,
            "fragments inside of the shared tile"
        );
        assert!(col.is_multiple_of(Self::CHUNK_LEN), "fragments begin at a 16-byte chunk");
    }
}

/// `N` fragments of B, two by one load; `single` loads the last of an odd number.
#[inline(always)]
fn load_pairs<T: MmaElement, const N: usize>(
    mut double: impl FnMut(usize) -> [u32; 4],
    mut single: impl FnMut(usize) -> [u32; 2],
) -> [Right<T>; N] {
    let mut upper = [0; 2];
    unrolled(|j| {
        if j % 2 == 1 {
            return Right::from_registers(upper);
        }
        if j + 1 == N {
            return Right::from_registers(single(j));
        }
        let [a, b, c, d] = double(j);
        upper = [c, d];
        Right::from_registers([a, b])
    })
}
