//! Which host values stand for which kernel parameters.

use raddle_device::atomic::{Atomic, AtomicValue, Scope};
use raddle_device::output::{
    PerBlock, PerBlockTile, PerThread, PerThreadChunks, PerWarp, RawChunks, RawMatrix, vector_align,
};
use raddle_device::param::{DeviceType, RawSlice};
use raddle_device::tile::{TileMut, TileShape};

use crate::buffer::{Buffer, ChunksMut, Slice, SliceMut};
use crate::call::{Binder, KernelArg};
use crate::error::Error;
use crate::matrix::{MatrixMut, check_matrix};
use crate::timeline::Access;

// SAFETY: the elements of the slice, read-only as long as the call borrows them,
// and in stream order afterwards.
unsafe impl<'k, T: DeviceType> KernelArg<'k, &'static [T]> for Slice<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, Access::Read);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: DeviceType> KernelArg<'k, &'static [T]> for &'k Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<&'static [T]>::bind(self.as_slice(), binder)
    }
}

// SAFETY: the elements of the slice, which nobody else holds.
unsafe impl<'k, T: DeviceType> KernelArg<'k, PerThread<T>> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, self.access);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: DeviceType> KernelArg<'k, PerThread<T>> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<PerThread<T>>::bind(self.as_slice_mut(), binder)
    }
}

// SAFETY: the elements of the slice, which nobody else holds; the lengths are
// checked.
unsafe impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerBlock<T, N>> for ChunksMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawChunks {
        bind_chunks(self, N, binder)
    }
}

// SAFETY: as for `PerBlock`.
unsafe impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerWarp<T, N>> for ChunksMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawChunks {
        bind_chunks(self, N, binder)
    }
}

#[inline]
fn bind_chunks<'k, T: DeviceType>(
    chunks: ChunksMut<'k, T>,
    vector_len: usize,
    binder: &mut Binder<'k>,
) -> RawChunks {
    let (slice, chunk_len) = (chunks.slice, chunks.chunk_len);
    let len = slice.len();
    let is_even = chunk_len != 0
        && len.is_multiple_of(chunk_len)
        && vector_len != 0
        && chunk_len.is_multiple_of(vector_len);
    // Threads reach their part as arrays of `vector_len` elements, which want no more
    // alignment than one element: nothing else to check.
    if !is_even {
        let kernel = binder.kernel().name;
        binder.refuse(Error::Chunks { kernel, len, chunk_len, vector_len });
    }
    binder.touch(slice.region, slice.access);
    let slice = RawSlice { ptr: slice.address, len: len as u64 };
    RawChunks { slice, chunk_len: chunk_len as u64 }
}

// SAFETY: the elements of the slice, which nobody else holds; length and
// alignment are checked.
unsafe impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerThreadChunks<T, N>>
    for SliceMut<'k, T>
{
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        let (kernel, len) = (binder.kernel().name, self.len());
        if N == 0 || !len.is_multiple_of(N) {
            binder.refuse(Error::Chunks { kernel, len, chunk_len: N, vector_len: N });
        }
        check_align::<T, N>(binder, self.address);
        binder.touch(self.region, self.access);
        RawSlice { ptr: self.address, len: len as u64 }
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerThreadChunks<T, N>>
    for &'k mut Buffer<T>
{
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<PerThreadChunks<T, N>>::bind(self.as_slice_mut(), binder)
    }
}

// SAFETY: the elements of the matrix, which nobody else holds; shape and
// alignment are checked.
unsafe impl<'k, T: DeviceType, const ROWS: usize, const COLS: usize, const N: usize>
    KernelArg<'k, PerBlockTile<T, ROWS, COLS, N>> for MatrixMut<'k, T>
{
    fn bind(self, binder: &mut Binder<'k>) -> RawMatrix {
        check_align::<T, N>(binder, self.slice.address);
        bind_matrix(self, N, binder)
    }
}

// SAFETY: the elements of the matrix, which nobody else holds; its shape is
// checked.
unsafe impl<'k, T: DeviceType, S: TileShape> KernelArg<'k, TileMut<T, S>> for MatrixMut<'k, T> {
    fn bind(self, binder: &mut Binder<'k>) -> RawMatrix {
        bind_matrix(self, 1, binder)
    }
}

fn bind_matrix<'k, T: DeviceType>(
    matrix: MatrixMut<'k, T>,
    vector_len: usize,
    binder: &mut Binder<'k>,
) -> RawMatrix {
    let MatrixMut { slice, rows, cols, stride } = matrix;
    let (kernel, len) = (binder.kernel().name, slice.len());
    if let Err(reason) = check_matrix(rows, cols, stride, len, vector_len) {
        binder.refuse(Error::Matrix { kernel, rows, cols, stride, len, reason });
    }
    binder.touch(slice.region, slice.access);
    RawMatrix {
        slice: RawSlice { ptr: slice.address, len: len as u64 },
        rows: rows as u64,
        cols: cols as u64,
        stride: stride as u64,
    }
}

/// Refuses an address at which threads cannot write vectors of `N` elements.
fn check_align<T: DeviceType, const N: usize>(binder: &mut Binder<'_>, address: u64) {
    let expected_bytes = const { vector_align::<T, N>() };
    if !address.is_multiple_of(expected_bytes as u64) {
        let kernel = binder.kernel().name;
        binder.refuse(Error::Alignment { kernel, expected_bytes, address });
    }
}

// SAFETY: an address; using it is up to unsafe code.
unsafe impl<'k, T: DeviceType> KernelArg<'k, *const T> for Slice<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        binder.touch(self.region, Access::Read);
        self.address
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: DeviceType> KernelArg<'k, *const T> for &'k Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<*const T>::bind(self.as_slice(), binder)
    }
}

// SAFETY: an address; using it is up to unsafe code.
unsafe impl<'k, T: DeviceType> KernelArg<'k, *mut T> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        binder.touch(self.region, self.access);
        self.address
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: DeviceType> KernelArg<'k, *mut T> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<*mut T>::bind(self.as_slice_mut(), binder)
    }
}

// Atomic cells are bound from exclusive borrows: bound from a shared one, the
// same memory could be a `&[T]` of the same launch.

// SAFETY: the elements of the slice, which nobody else holds.
unsafe impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static [Atomic<T, S>]>
    for SliceMut<'k, T>
{
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, self.access);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static [Atomic<T, S>]>
    for &'k mut Buffer<T>
{
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<&'static [Atomic<T, S>]>::bind(self.as_slice_mut(), binder)
    }
}

// SAFETY: the one element of the slice, which nobody else holds.
unsafe impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static Atomic<T, S>> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        if self.len() != 1 {
            let operation = "a single atomic cell";
            binder.refuse(Error::Length { operation, expected: 1, found: self.len() });
        }
        binder.touch(self.region, self.access);
        self.address
    }
}

// SAFETY: as for its slice.
unsafe impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static Atomic<T, S>>
    for &'k mut Buffer<T>
{
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<&'static Atomic<T, S>>::bind(self.as_slice_mut(), binder)
    }
}
