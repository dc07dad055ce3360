//! Which host values stand for which kernel parameters.

use raddle_device::atomic::{Atomic, AtomicValue, Scope};
use raddle_device::output::{PerBlock, PerThread, RawChunks};
use raddle_device::param::{DeviceType, RawSlice};

use crate::buffer::{Buffer, ChunksMut, Slice, SliceMut};
use crate::call::{Binder, KernelArg};
use crate::error::Error;
use crate::timeline::Access;

impl<'k, T: DeviceType> KernelArg<'k, &'static [T]> for Slice<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, Access::Read);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

impl<'k, T: DeviceType> KernelArg<'k, &'static [T]> for &'k Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<&'static [T]>::bind(self.as_slice(), binder)
    }
}

impl<'k, T: DeviceType> KernelArg<'k, PerThread<T>> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, self.access);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

impl<'k, T: DeviceType> KernelArg<'k, PerThread<T>> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<PerThread<T>>::bind(self.as_slice_mut(), binder)
    }
}

impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerBlock<T, N>> for ChunksMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawChunks {
        let (slice, chunk_len) = (self.slice, self.chunk_len);
        let len = slice.len();
        let is_even = chunk_len != 0
            && len.is_multiple_of(chunk_len)
            && N != 0
            && chunk_len.is_multiple_of(N);
        // Threads reach their part as arrays of `N` elements, which want no more
        // alignment than one element: nothing else to check.
        if !is_even {
            let kernel = binder.kernel().name;
            binder.refuse(Error::Chunks { kernel, len, chunk_len, vector_len: N });
        }
        binder.touch(slice.region, slice.access);
        let slice = RawSlice { ptr: slice.address, len: len as u64 };
        RawChunks { slice, chunk_len: chunk_len as u64 }
    }
}

impl<'k, T: DeviceType> KernelArg<'k, *const T> for Slice<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        binder.touch(self.region, Access::Read);
        self.address
    }
}

impl<'k, T: DeviceType> KernelArg<'k, *const T> for &'k Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<*const T>::bind(self.as_slice(), binder)
    }
}

impl<'k, T: DeviceType> KernelArg<'k, *mut T> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        binder.touch(self.region, self.access);
        self.address
    }
}

impl<'k, T: DeviceType> KernelArg<'k, *mut T> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<*mut T>::bind(self.as_slice_mut(), binder)
    }
}

// Atomic cells are bound from exclusive borrows: bound from a shared one, the
// same memory could be a `&[T]` of the same launch.

impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static [Atomic<T, S>]> for SliceMut<'k, T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        binder.touch(self.region, self.access);
        RawSlice { ptr: self.address, len: self.len() as u64 }
    }
}

impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static [Atomic<T, S>]> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> RawSlice {
        KernelArg::<&'static [Atomic<T, S>]>::bind(self.as_slice_mut(), binder)
    }
}

impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static Atomic<T, S>> for SliceMut<'k, T> {
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

impl<'k, T: AtomicValue, S: Scope> KernelArg<'k, &'static Atomic<T, S>> for &'k mut Buffer<T> {
    #[inline]
    fn bind(self, binder: &mut Binder<'k>) -> u64 {
        KernelArg::<&'static Atomic<T, S>>::bind(self.as_slice_mut(), binder)
    }
}
