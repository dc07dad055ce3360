//! [`Matrix`]: a row-major matrix in global memory.

use crate::param::DeviceType;

/// A row-major matrix that a kernel reads.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    elements: &'a [T],
    rows: usize,
    cols: usize,
}

impl<'a, T: DeviceType> Matrix<'a, T> {
    /// `elements` as `rows` rows of `columns`.
    ///
    /// # Panics
    ///
    /// If there are not `rows * columns` elements, or a row or the matrix does not
    /// begin at a multiple of 16 bytes, as copies to shared memory need it.
    #[inline(always)]
    #[must_use]
    pub fn new(elements: &'a [T], rows: usize, cols: usize) -> Self {
        assert!(
            rows.checked_mul(cols) == Some(elements.len()),
            "a matrix has as many elements as rows times columns"
        );
        assert!(
            (cols * size_of::<T>()).is_multiple_of(16)
                && elements.as_ptr().addr().is_multiple_of(16),
            "rows of a matrix begin at multiples of 16 bytes"
        );
        Self { elements, rows, cols }
    }

    /// Number of rows.
    #[inline(always)]
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Address of an element, which may lie out of bounds.
    #[inline(always)]
    pub(super) fn address(&self, row: usize, col: usize) -> *const T {
        self.elements.as_ptr().wrapping_add(row.wrapping_mul(self.cols).wrapping_add(col))
    }
}
