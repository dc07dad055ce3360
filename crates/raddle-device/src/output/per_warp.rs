//! Outputs that warps share out by chunks, and the lanes of a warp by vectors of
//! each chunk.

use core::marker::PhantomData;

use super::RawChunks;
use crate::index::{WARP, block_dim_x, block_x, grid_dim_x, lane, warp};
use crate::param::{DeviceType, KernelParam, ParamRules, RawSlice};

/// Output cut into chunks of one length (given by the host): warp `w` of the grid
/// owns chunks `w`, `w + W`, … where `W` is the number of warps of the grid, and
/// within a chunk lane `l` owns the vectors `l`, `l + 32`, … of `N` elements.
/// Launches must be one-dimensional.
///
/// Rows that a warp can hold in its registers need no barrier this way.
pub struct PerWarp<T, const N: usize = 1> {
    ptr: *mut T,
    len: usize,
    chunk_len: usize,
}

// SAFETY: the host checks that the launch is one-dimensional, so a warp's number in
// the grid and a lane's in its warp are unique and the classes are disjoint.
unsafe impl<T: DeviceType, const N: usize> KernelParam for PerWarp<T, N> {
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

impl<T: DeviceType, const N: usize> PerWarp<T, N> {
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

    /// The warp's chunks with their indices. Every lane of the warp sees the same
    /// sequence, so warp operations inside the loop are reached by all; warps of a
    /// block may see different numbers of them, so barriers are not.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> PerWarpIter<'_, T, N> {
        let warps = block_dim_x().div_ceil(WARP) as usize;
        PerWarpIter {
            chunks: self.chunks(),
            ptr: self.ptr,
            chunk_len: self.chunk_len,
            next: block_x() as usize * warps + warp() as usize,
            step: grid_dim_x() as usize * warps,
            life: PhantomData,
        }
    }
}

/// Iterator of [`PerWarp::iter_mut`].
pub struct PerWarpIter<'a, T, const N: usize> {
    ptr: *mut T,
    chunks: usize,
    chunk_len: usize,
    next: usize,
    step: usize,
    life: PhantomData<&'a mut T>,
}

impl<'a, T, const N: usize> Iterator for PerWarpIter<'a, T, N> {
    type Item = (usize, WarpChunk<'a, T, N>);
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next;
        if index >= self.chunks {
            return None;
        }
        self.next = index + self.step;
        // SAFETY: chunk `index` lies within the output.
        let ptr = unsafe { self.ptr.add(index * self.chunk_len) };
        Some((index, WarpChunk { ptr, len: self.chunk_len, life: PhantomData }))
    }
}

/// One chunk of a [`PerWarp`] output, shared out among the warp's lanes.
pub struct WarpChunk<'a, T, const N: usize> {
    ptr: *mut T,
    len: usize,
    life: PhantomData<&'a mut T>,
}

impl<T: DeviceType, const N: usize> WarpChunk<'_, T, N> {
    /// This lane's vectors with the index of their first element in the chunk.
    #[inline(always)]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut [T; N])> {
        let (ptr, vectors) = (self.ptr, self.len / N);
        let mut next = lane() as usize;
        core::iter::from_fn(move || {
            let vector = next;
            if vector >= vectors {
                return None;
            }
            next = vector + WARP as usize;
            // SAFETY: vector `vector` lies within the chunk and belongs to this
            // lane only; it is yielded once.
            Some((vector * N, unsafe { &mut *ptr.add(vector * N).cast::<[T; N]>() }))
        })
    }

    /// The vector that begins at element `index`, if this lane owns it.
    #[inline(always)]
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [T; N]> {
        let vector = index / N;
        let is_mine = vector % WARP as usize == lane() as usize;
        if index.is_multiple_of(N) && vector < self.len / N && is_mine {
            // SAFETY: in bounds, and this lane owns the vector.
            Some(unsafe { &mut *self.ptr.add(index).cast::<[T; N]>() })
        } else {
            None
        }
    }
}
