//! Parts of buffers as row-major matrices: regions, copies and fills of them.
//!
//! A matrix is checked where it is used: rows do not overlap, and the last one ends
//! within the elements that it was made from.

use std::ops::RangeBounds;

use raddle_cuda::CopyRows;
use raddle_device::param::DeviceType;

use crate::buffer::{Slice, SliceMut, resolve};
use crate::call::Accesses;
use crate::error::{Error, Result};
use crate::launch::Operation;
use crate::memory::host_pointer;
use crate::stream::Stream;
use crate::timeline::Access;

/// Elements of a buffer as a row-major matrix, for reading.
pub struct Matrix<'a, T: DeviceType> {
    pub(crate) slice: Slice<'a, T>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

/// Elements of a buffer as a row-major matrix, for writing: the argument for a
/// kernel's `PerBlockTile` parameter.
pub struct MatrixMut<'a, T: DeviceType> {
    pub(crate) slice: SliceMut<'a, T>,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) stride: usize,
}

impl<T: DeviceType> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: DeviceType> Copy for Matrix<'_, T> {}

impl<T: DeviceType> Matrix<'_, T> {
    /// With rows that begin `stride` elements apart, at least `cols`; without this
    /// they follow each other closely.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The part in these rows and columns.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if it does not lie in the matrix, [`Error::Matrix`] if the
    /// matrix does not lie in its elements.
    pub fn region(
        self,
        rows: impl RangeBounds<usize>,
        cols: impl RangeBounds<usize>,
    ) -> Result<Self> {
        let part = Part::of(self.shape(), rows, cols)?;
        let slice = self.slice.slice(part.start..part.end)?;
        Ok(Self { slice, rows: part.rows, cols: part.cols, stride: self.stride })
    }

    fn shape(&self) -> Shape {
        let Self { rows, cols, stride, .. } = *self;
        Shape { rows, cols, stride, len: self.slice.len() }
    }
}

impl<T: DeviceType> MatrixMut<'_, T> {
    /// With rows that begin `stride` elements apart, at least `cols`; without this
    /// they follow each other closely.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The part in these rows and columns.
    ///
    /// ## Errors
    ///
    /// As for [`Matrix::region`].
    pub fn region(
        self,
        rows: impl RangeBounds<usize>,
        cols: impl RangeBounds<usize>,
    ) -> Result<Self> {
        let part = Part::of(self.shape(), rows, cols)?;
        let stride = self.stride;
        let slice = self.slice.slice_mut(part.start..part.end)?;
        Ok(Self { slice, rows: part.rows, cols: part.cols, stride })
    }

    fn shape(&self) -> Shape {
        let Self { rows, cols, stride, .. } = *self;
        Shape { rows, cols, stride, len: self.slice.len() }
    }
}

/// A matrix without its elements.
#[derive(Clone, Copy)]
struct Shape {
    rows: usize,
    cols: usize,
    stride: usize,
    len: usize,
}

impl Shape {
    fn check(self, operation: &'static str) -> Result<()> {
        let Self { rows, cols, stride, len } = self;
        check_matrix(rows, cols, stride, len, 1).map_err(|reason| Error::Matrix {
            kernel: operation,
            rows,
            cols,
            stride,
            len,
            reason,
        })
    }
}

/// Where a part of a matrix begins and ends in its elements.
struct Part {
    start: usize,
    end: usize,
    rows: usize,
    cols: usize,
}

impl Part {
    fn of(
        shape: Shape,
        rows: impl RangeBounds<usize>,
        cols: impl RangeBounds<usize>,
    ) -> Result<Self> {
        shape.check("region")?;
        let (row, rows) = resolve(rows, shape.rows)?;
        let (col, cols) = resolve(cols, shape.cols)?;
        if rows == 0 || cols == 0 {
            return Ok(Self { start: 0, end: 0, rows, cols });
        }
        let start = row * shape.stride + col;
        Ok(Self { start, end: start + (rows - 1) * shape.stride + cols, rows, cols })
    }
}

impl Stream {
    /// Copies a matrix to another of the same shape, on the device.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if rows or columns differ, [`Error::Matrix`] if one does not
    /// lie in its elements, [`Error::WrongDevice`], or a failed driver call.
    pub fn copy_matrix<T: DeviceType>(
        &self,
        source: Matrix<'_, T>,
        target: MatrixMut<'_, T>,
    ) -> Result<()> {
        const OPERATION: &str = "copy_matrix";
        source.shape().check(OPERATION)?;
        target.shape().check(OPERATION)?;
        for (expected, found) in [(target.rows, source.rows), (target.cols, source.cols)] {
            if expected != found {
                return Err(Error::Length { operation: OPERATION, expected, found });
            }
        }
        let accesses = Accesses::default()
            .with(source.slice.region, Access::Read)
            .with(target.slice.region, target.slice.access);
        let rows = CopyRows {
            len: source.rows,
            row_bytes: source.cols * size_of::<T>(),
            source_pitch_bytes: source.stride * size_of::<T>(),
            target_pitch_bytes: target.stride * size_of::<T>(),
        };
        self.submit(Operation::Named(OPERATION), &accesses, |raw, _| {
            // SAFETY: both matrices lie in their elements, and a shared and an
            // exclusive borrow do not overlap.
            unsafe { copy_rows(raw, target.slice.address, source.slice.address, rows) }
        })?;
        Ok(())
    }

    /// Sets every element of a matrix to `value`, and none between its rows.
    ///
    /// ## Errors
    ///
    /// [`Error::Matrix`] if it does not lie in its elements, [`Error::WrongDevice`],
    /// or a failed driver call.
    pub fn fill_matrix<T: DeviceType>(&self, target: MatrixMut<'_, T>, value: T) -> Result<()> {
        const OPERATION: &str = "fill_matrix";
        target.shape().check(OPERATION)?;
        let MatrixMut { mut slice, rows, cols, stride } = target;
        if rows == 0 || cols == 0 {
            return Ok(());
        }
        self.fill(slice.reborrow().slice_mut(..cols)?, value)?;
        let pitch = stride * size_of::<T>();
        let accesses = Accesses::default().with(slice.region, slice.access);
        self.submit(Operation::Named(OPERATION), &accesses, |raw, _| {
            // The rows that are done, then as many behind them.
            let mut done = 1;
            while done < rows {
                let len = done.min(rows - done);
                let (row_bytes, pitch_bytes) = (cols * size_of::<T>(), pitch);
                let shape = CopyRows {
                    len,
                    row_bytes,
                    source_pitch_bytes: pitch_bytes,
                    target_pitch_bytes: pitch_bytes,
                };
                let to = slice.address + (done * pitch) as u64;
                // SAFETY: the rows lie in the matrix, those read before those
                // written; the stream is in order.
                unsafe { copy_rows(raw, to, slice.address, shape)? };
                done += len;
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// # Safety
///
/// All rows of both sides are memory of the stream's device, do not overlap, and
/// are used by no other work at the time.
unsafe fn copy_rows(
    raw: Option<&raddle_cuda::Stream>,
    target: u64,
    source: u64,
    rows: CopyRows,
) -> Result<()> {
    if rows.len == 0 || rows.row_bytes == 0 {
        return Ok(());
    }
    if let Some(raw) = raw {
        // SAFETY: the caller's contract.
        unsafe { raw.copy_rows(target, source, rows)? };
        return Ok(());
    }
    for row in 0..rows.len {
        let from = host_pointer(source + (row * rows.source_pitch_bytes) as u64);
        let to = host_pointer(target + (row * rows.target_pitch_bytes) as u64);
        // SAFETY: the caller's contract.
        unsafe { to.copy_from_nonoverlapping(from, rows.row_bytes) };
    }
    Ok(())
}

/// Whether a matrix of whole vectors of `vector_len` elements lies in `len`
/// elements, with rows that do not overlap.
pub(crate) fn check_matrix(
    rows: usize,
    cols: usize,
    stride: usize,
    len: usize,
    vector_len: usize,
) -> Result<(), &'static str> {
    if stride < cols {
        return Err("rows overlap: the stride is smaller than the number of columns");
    }
    if vector_len == 0 || !cols.is_multiple_of(vector_len) || !stride.is_multiple_of(vector_len) {
        return Err("columns and stride are not multiples of the kernel's vectors");
    }
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let needed = (rows - 1).checked_mul(stride).and_then(|start| start.checked_add(cols));
    match needed {
        Some(needed) if needed <= len => Ok(()),
        _ => Err("the matrix is larger than the buffer"),
    }
}
