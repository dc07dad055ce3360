//! Outputs that blocks share out by chunks, and the threads of a block by
//! vectors of each chunk.

use core::marker::PhantomData;

use crate::index::{block_dim_x, block_x, grid_dim_x, thread_x};
use crate::param::{DeviceType, KernelParam, ParamRules, RawSlice};

/// Output cut into chunks of one length (given by the host): block `b` owns
/// chunks `b`, `b + B`, … where `B` is the number of blocks, and within a chunk
/// thread `t` owns the vectors `t`, `t + T`, … of `N` elements, where `T` is the
/// number of threads in the block. Launches must be one-dimensional.
pub struct PerBlock<T, const N: usize = 1> {
    ptr: *mut T,
    len: usize,
    chunk_len: usize,
}

/// How [`PerBlock`] travels.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RawChunks {
    /// The whole output.
    pub slice: RawSlice,
    /// Elements in a chunk; a multiple of `N`, and it divides the length.
    pub chunk_len: u64,
}

// SAFETY: the host checks that the launch is one-dimensional, so block and thread
// indices along x are unique and the classes are disjoint.
unsafe impl<T: DeviceType, const N: usize> KernelParam for PerBlock<T, N> {
    type Raw = RawChunks;
    const RULES: ParamRules = ParamRules::ONE_D;
    #[inline(always)]
    unsafe fn from_raw(raw: *const RawChunks) -> Self {
        // SAFETY: the host wrote the address and length of a live buffer.
        unsafe {
            Self {
                ptr: RawSlice::pointer(&raw const (*raw).slice),
                len: (*raw).slice.len as usize,
                chunk_len: (*raw).chunk_len as usize,
            }
        }
    }
}

impl<T: DeviceType, const N: usize> PerBlock<T, N> {
    /// Elements in a chunk.
    #[inline(always)]
    #[must_use]
    pub fn chunk_len(&self) -> usize {
        self.chunk_len
    }

    /// Number of chunks.
    #[inline(always)]
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.len / self.chunk_len
    }

    /// The block's chunks with their indices. Every thread of the block sees the
    /// same sequence, so barriers inside the loop are reached by all.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> PerBlockIter<'_, T, N> {
        PerBlockIter {
            chunks: self.chunks(),
            ptr: self.ptr,
            chunk_len: self.chunk_len,
            next: block_x() as usize,
            life: PhantomData,
        }
    }
}

/// Iterator of [`PerBlock::iter_mut`].
pub struct PerBlockIter<'a, T, const N: usize> {
    ptr: *mut T,
    chunks: usize,
    chunk_len: usize,
    next: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T, const N: usize> Iterator for PerBlockIter<'a, T, N> {
    type Item = (usize, BlockChunk<'a, T, N>);
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.chunks {
            return None;
        }
        self.next = index + grid_dim_x() as usize;
        // SAFETY: chunk `index` lies within the output.
        let ptr = unsafe { self.ptr.add(index * self.chunk_len) };
        Some((index, BlockChunk { ptr, len: self.chunk_len, life: PhantomData }))
    }
}

/// One chunk of a [`PerBlock`] output, shared out among the block's threads.
pub struct BlockChunk<'a, T, const N: usize> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a mut T>,
}

impl<T: DeviceType, const N: usize> BlockChunk<'_, T, N> {
    /// This thread's vectors with the index of their first element in the chunk.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut [T; N])> {
        let (ptr, vectors, threads) = (self.ptr, self.len / N, block_dim_x() as usize);
        let mut next = thread_x() as usize;
        core::iter::from_fn(move || {
            let vector = next;
            if vector >= vectors {
                return None;
            }
            next = vector + threads;
            // SAFETY: vector `vector` lies within the chunk and belongs to this
            // thread only; it is yielded once.
            Some((vector * N, unsafe { &mut *ptr.add(vector * N).cast::<[T; N]>() }))
        })
    }

    /// The vector that begins at element `index`, if this thread owns it.
    #[inline(always)]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [T; N]> {
        let vector = index / N;
        let is_mine = vector % block_dim_x() as usize == thread_x() as usize;
        if index.is_multiple_of(N) && vector < self.len / N && is_mine {
            // SAFETY: in bounds, and this thread owns the vector.
            Some(unsafe { &mut *self.ptr.add(index).cast::<[T; N]>() })
        } else {
            None
        }
    }
}
