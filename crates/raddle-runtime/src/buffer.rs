//! Owned device memory and its typed parts.
//!
//! A [`Buffer`] frees itself in stream order when it is dropped, without waiting.
//! Which work may touch it at the same time follows Rust's borrow rules; which
//! work comes first when several streams use it is kept by
//! `timeline`.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use raddle_device::param::DeviceType;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixMut};
use crate::memory::Region;
use crate::plain::{Plain, reinterpreted_len};
use crate::stream::Stream;
use crate::timeline::Access;

/// Elements of `T` in a device's memory.
pub struct Buffer<T: DeviceType> {
    /// Knows the number of elements, beside what else a launch looks at.
    region: Region,
    element: PhantomData<T>,
}

impl<T: DeviceType> Buffer<T> {
    /// # Safety
    ///
    /// The region holds `len` elements, which are valid before they are read.
    pub(crate) unsafe fn from_region(mut region: Region, len: usize) -> Self {
        region.len = len;
        Self { region, element: PhantomData }
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.region.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.region.len == 0
    }

    /// The device that holds the memory.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.region.device
    }

    /// The address on the device, for foreign libraries. Whoever uses it keeps
    /// the buffer alive and the work in order.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.region.address
    }

    /// All elements, for reading.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> Slice<'_, T> {
        Slice {
            region: &self.region,
            address: self.region.address,
            len: self.region.len,
            element: PhantomData,
        }
    }

    /// All elements, for writing.
    #[inline]
    #[must_use]
    pub fn as_slice_mut(&mut self) -> SliceMut<'_, T> {
        SliceMut {
            region: &self.region,
            address: self.region.address,
            len: self.region.len,
            access: Access::Exclusive,
            element: PhantomData,
        }
    }

    /// The elements of `range`, for reading.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if the range does not lie in the buffer.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Result<Slice<'_, T>> {
        self.as_slice().slice(range)
    }

    /// The elements of `range`, for writing.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if the range does not lie in the buffer.
    pub fn slice_mut(&mut self, range: impl RangeBounds<usize>) -> Result<SliceMut<'_, T>> {
        self.as_slice_mut().slice_mut(range)
    }

    /// The elements before and from `middle`, for writing both at once.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if `middle` is beyond the end.
    pub fn split_at_mut(&mut self, middle: usize) -> Result<(SliceMut<'_, T>, SliceMut<'_, T>)> {
        self.as_slice_mut().split_at_mut(middle)
    }

    /// The buffer cut into chunks of `chunk_len` elements, for a kernel's
    /// `PerBlock` parameter. Whether it divides evenly is checked at the launch.
    #[must_use]
    pub fn chunks_mut(&mut self, chunk_len: usize) -> ChunksMut<'_, T> {
        self.as_slice_mut().chunks_mut(chunk_len)
    }

    /// The buffer as a row-major matrix, for a kernel's `PerBlockTile` parameter.
    /// Whether it fits is checked at the launch.
    #[must_use]
    pub fn matrix_mut(&mut self, rows: usize, cols: usize) -> MatrixMut<'_, T> {
        self.as_slice_mut().matrix_mut(rows, cols)
    }

    /// The elements before and from `middle`, for reading.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if `middle` is beyond the end.
    pub fn split_at(&self, middle: usize) -> Result<(Slice<'_, T>, Slice<'_, T>)> {
        self.as_slice().split_at(middle)
    }

    /// The buffer as a row-major matrix, for reading.
    #[must_use]
    pub fn matrix(&self, rows: usize, cols: usize) -> Matrix<'_, T> {
        self.as_slice().matrix(rows, cols)
    }

    /// Waits for the elements and copies them to the host, on the stream that wrote
    /// the buffer last: as [`Stream::to_vec`] of that stream.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel on that stream, or a failed driver call.
    pub fn to_vec(&self) -> Result<Vec<T>> {
        self.as_slice().to_vec()
    }

    /// Copies `source` from the host, on the stream that wrote the buffer last.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ, or a failed driver call.
    pub fn copy_from(&mut self, source: &[T]) -> Result<()> {
        Stream::of_region(&self.region)?.write(self, source)
    }
}

impl<T: DeviceType> std::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let element = std::any::type_name::<T>();
        write!(f, "Buffer<{element}>({} on {})", self.region.len, self.device().kind())
    }
}

/// Elements of a [`Buffer`], for reading.
pub struct Slice<'a, T: DeviceType> {
    pub(crate) region: &'a Region,
    pub(crate) address: u64,
    len: usize,
    element: PhantomData<&'a [T]>,
}

impl<T: DeviceType> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: DeviceType> Copy for Slice<'_, T> {}

impl<'a, T: DeviceType> Slice<'a, T> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device that holds the memory.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        &self.region.device
    }

    /// The elements of `range`.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if the range does not lie in the slice.
    pub fn slice(self, range: impl RangeBounds<usize>) -> Result<Self> {
        let (start, len) = resolve(range, self.len)?;
        let address = self.address + (start * size_of::<T>()) as u64;
        Ok(Self { address, len, ..self })
    }

    /// The elements before and from `middle`.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if `middle` is beyond the end.
    pub fn split_at(self, middle: usize) -> Result<(Self, Self)> {
        Ok((self.slice(..middle)?, self.slice(middle..)?))
    }

    /// The slice as a row-major matrix.
    #[must_use]
    pub fn matrix(self, rows: usize, cols: usize) -> Matrix<'a, T> {
        Matrix { slice: self, rows, cols, stride: cols }
    }

    /// The same bytes as elements of another type.
    ///
    /// ## Errors
    ///
    /// [`Error::Reinterpret`] if they are no whole number of elements, or not
    /// aligned for them.
    pub fn reinterpret<U: Plain>(self) -> Result<Slice<'a, U>>
    where
        T: Plain,
    {
        let len = reinterpreted_len::<T, U>(self.address, self.len)?;
        Ok(Slice { region: self.region, address: self.address, len, element: PhantomData })
    }

    /// Waits for the elements and copies them to the host, on the stream that wrote
    /// the buffer last: as [`Stream::to_vec`] of that stream.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel on that stream, or a failed driver call.
    pub fn to_vec(self) -> Result<Vec<T>> {
        Stream::of_region(self.region)?.to_vec(self)
    }
}

impl<'a, T: DeviceType> From<&'a Buffer<T>> for Slice<'a, T> {
    fn from(buffer: &'a Buffer<T>) -> Self {
        buffer.as_slice()
    }
}

/// Elements of a [`Buffer`], for writing.
pub struct SliceMut<'a, T: DeviceType> {
    pub(crate) region: &'a Region,
    pub(crate) address: u64,
    len: usize,
    /// [`Access::Exclusive`] as long as no other part of the buffer is lent out.
    pub(crate) access: Access,
    element: PhantomData<&'a mut [T]>,
}

impl<'a, T: DeviceType> SliceMut<'a, T> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The device that holds the memory.
    #[must_use]
    pub fn device(&self) -> &'a Device {
        &self.region.device
    }

    /// The same elements for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> SliceMut<'_, T> {
        SliceMut {
            region: self.region,
            address: self.address,
            len: self.len,
            access: self.access,
            element: PhantomData,
        }
    }

    /// The same elements, for reading only.
    #[must_use]
    pub fn as_slice(&self) -> Slice<'_, T> {
        Slice { region: self.region, address: self.address, len: self.len, element: PhantomData }
    }

    /// The elements of `range`.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if the range does not lie in the slice.
    pub fn slice_mut(self, range: impl RangeBounds<usize>) -> Result<Self> {
        let (start, len) = resolve(range, self.len)?;
        let address = self.address + (start * size_of::<T>()) as u64;
        Ok(Self { address, len, ..self })
    }

    /// The elements before and from `middle`.
    ///
    /// ## Errors
    ///
    /// [`Error::Range`] if `middle` is beyond the end.
    pub fn split_at_mut(self, middle: usize) -> Result<(Self, Self)> {
        let (start, len) = resolve(middle.., self.len)?;
        let tail = self.address + (start * size_of::<T>()) as u64;
        let part = |address, len| Self {
            region: self.region,
            address,
            len,
            access: Access::Write,
            element: PhantomData,
        };
        Ok((part(self.address, start), part(tail, len)))
    }

    /// The slice cut into chunks of `chunk_len` elements, for a kernel's
    /// `PerBlock` parameter. Whether it divides evenly is checked at the launch.
    #[must_use]
    pub fn chunks_mut(self, chunk_len: usize) -> ChunksMut<'a, T> {
        ChunksMut { slice: self, chunk_len }
    }

    /// The slice as a row-major matrix, for a kernel's `PerBlockTile` parameter.
    /// Whether it fits is checked at the launch.
    #[must_use]
    pub fn matrix_mut(self, rows: usize, cols: usize) -> MatrixMut<'a, T> {
        MatrixMut { slice: self, rows, cols, stride: cols }
    }

    /// The same bytes as elements of another type.
    ///
    /// ## Errors
    ///
    /// As for [`Slice::reinterpret`].
    pub fn reinterpret_mut<U: Plain>(self) -> Result<SliceMut<'a, U>>
    where
        T: Plain,
    {
        let len = reinterpreted_len::<T, U>(self.address, self.len)?;
        let Self { region, address, access, .. } = self;
        Ok(SliceMut { region, address, len, access, element: PhantomData })
    }
}

impl<'a, T: DeviceType> From<&'a mut Buffer<T>> for SliceMut<'a, T> {
    fn from(buffer: &'a mut Buffer<T>) -> Self {
        buffer.as_slice_mut()
    }
}

/// A buffer cut into chunks of one length: the argument for a kernel's
/// `PerBlock` parameter.
pub struct ChunksMut<'a, T: DeviceType> {
    pub(crate) slice: SliceMut<'a, T>,
    pub(crate) chunk_len: usize,
}

/// Start and length of `range` in `len` elements.
pub(crate) fn resolve(range: impl RangeBounds<usize>, len: usize) -> Result<(usize, usize)> {
    let start = match range.start_bound() {
        Bound::Included(&start) => Some(start),
        Bound::Excluded(&before) => before.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1),
        Bound::Excluded(&end) => Some(end),
        Bound::Unbounded => Some(len),
    };
    match (start, end) {
        (Some(start), Some(end)) if start <= end && end <= len => Ok((start, end - start)),
        (start, end) => Err(Error::Range {
            start: start.unwrap_or(usize::MAX),
            end: end.unwrap_or(usize::MAX),
            len,
        }),
    }
}
