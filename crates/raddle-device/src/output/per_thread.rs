//! Outputs that the threads of the grid share out among themselves.

use core::marker::PhantomData;

use super::assume_vector_align;
use crate::index::{global_dim_x, global_x};
use crate::param::{DeviceType, KernelParam, ParamRules, RawSlice};

/// Output in which thread `g` of the grid owns elements `g`, `g + G`, `g + 2G`, …
/// where `G` is the number of threads of the grid. Launches must be
/// one-dimensional.
pub struct PerThread<T> {
    ptr: *mut T,
    len: usize,
}

// SAFETY: the host checks that the launch is one-dimensional, so `global_x` is
// different in every thread and the strided classes are disjoint.
unsafe impl<T: DeviceType> KernelParam for PerThread<T> {
    type Raw = RawSlice;
    const RULES: ParamRules = ParamRules::ONE_D;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawSlice) -> Self {
        // SAFETY: the host wrote the address and length of a live buffer.
        unsafe { Self { ptr: RawSlice::pointer(raw), len: (*raw).len as usize } }
    }
}

impl<T: DeviceType> PerThread<T> {
    /// Number of elements in the whole output.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the whole output is empty.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// This thread's first element and its index, or `None` past the end.
    #[inline(always)]
    pub fn mine(&mut self) -> Option<(usize, &mut T)> {
        let index = global_x();
        if index < self.len {
            // SAFETY: in bounds, and only this thread owns `index`.
            Some((index, unsafe { &mut *self.ptr.add(index) }))
        } else {
            None
        }
    }

    /// All of this thread's elements with their indices (a grid-stride loop).
    #[inline(always)]
    pub fn iter_mut(&mut self) -> PerThreadIter<'_, T> {
        PerThreadIter {
            ptr: self.ptr,
            len: self.len,
            next: global_x(),
            step: global_dim_x(),
            life: PhantomData,
        }
    }
}

/// Iterator of [`PerThread::iter_mut`].
pub struct PerThreadIter<'a, T> {
    ptr: *mut T,
    len: usize,
    next: usize,
    step: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T> Iterator for PerThreadIter<'a, T> {
    type Item = (usize, &'a mut T);
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index < self.len {
            self.next = index + self.step;
            // SAFETY: in bounds; each index is yielded once and only this thread
            // owns its class.
            Some((index, unsafe { &mut *self.ptr.add(index) }))
        } else {
            None
        }
    }
}

/// Output in which thread `g` of the grid owns chunks `g`, `g + G`, … of `N`
/// neighbouring elements, where `G` is the number of threads of the grid.
/// Launches must be one-dimensional.
///
/// The host gives the output [`vector_align`](super::vector_align), so that
/// storing a whole chunk of 4, 8 or 16 bytes, as of four `f32`, is one store.
pub struct PerThreadChunks<T, const N: usize> {
    ptr: *mut T,
    /// Chunks of the whole output; `chunks * N` elements lie at `ptr`.
    chunks: usize,
}

// SAFETY: as for `PerThread`, by chunks; the host checks that the length is a
// multiple of `N`, and the alignment.
unsafe impl<T: DeviceType, const N: usize> KernelParam for PerThreadChunks<T, N> {
    type Raw = RawSlice;
    const RULES: ParamRules = ParamRules::ONE_D;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawSlice) -> Self {
        const { assert!(N != 0, "a chunk has at least one element") };
        // SAFETY: the host wrote the address and length of a live buffer, aligned
        // as the type demands.
        unsafe {
            let ptr = assume_vector_align::<T, N>(RawSlice::pointer(raw));
            Self { ptr, chunks: (*raw).len as usize / N }
        }
    }
}

impl<T: DeviceType, const N: usize> PerThreadChunks<T, N> {
    /// Number of chunks in the whole output.
    #[inline(always)]
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// Number of elements in the whole output.
    #[inline(always)]
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks * N
    }

    /// Whether the whole output is empty.
    #[inline(always)]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chunks == 0
    }

    /// This thread's first chunk with its number, or `None` past the end. Its
    /// first element has the index `number * N`.
    #[inline(always)]
    pub fn mine(&mut self) -> Option<(usize, &mut [T; N])> {
        let chunk = global_x();
        if chunk < self.chunks {
            // SAFETY: in bounds, and only this thread owns the chunk.
            Some((chunk, unsafe { &mut *self.ptr.add(chunk * N).cast::<[T; N]>() }))
        } else {
            None
        }
    }

    /// All of this thread's chunks with their numbers (a grid-stride loop).
    #[inline(always)]
    pub fn iter_mut(&mut self) -> PerThreadChunksIter<'_, T, N> {
        PerThreadChunksIter {
            ptr: self.ptr,
            chunks: self.chunks,
            next: global_x(),
            step: global_dim_x(),
            life: PhantomData,
        }
    }
}

/// Iterator of [`PerThreadChunks::iter_mut`].
pub struct PerThreadChunksIter<'a, T, const N: usize> {
    ptr: *mut T,
    chunks: usize,
    next: usize,
    step: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T, const N: usize> Iterator for PerThreadChunksIter<'a, T, N> {
    type Item = (usize, &'a mut [T; N]);
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let chunk = self.next;
        if chunk < self.chunks {
            self.next = chunk + self.step;
            // SAFETY: in bounds; each chunk is yielded once and only this thread
            // owns its class.
            Some((chunk, unsafe { &mut *self.ptr.add(chunk * N).cast::<[T; N]>() }))
        } else {
            None
        }
    }
}
