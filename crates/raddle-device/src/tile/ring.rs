//! A ring of stages in shared memory, kept full by asynchronous copies while the
//! block computes on the oldest stage.

use core::marker::PhantomData;

use super::matrix::Matrix;
use super::shared_tile::{CHUNK_BYTES, SharedTile};
use crate::async_copy::{
    copy_async_cg, copy_async_commit, copy_async_or_zero, copy_async_wait, copy_async_wait_all,
};
use crate::barrier::barrier;
use crate::bits::AnyBits;
use crate::index::{block_threads, thread_linear};
use crate::shared::Shared;

/// One stage: the operands of one step along `k`.
#[repr(C)]
pub struct Stage<L, R> {
    left: L,
    right: R,
}

/// What may be part of a [`Stage`]: shared memory with interior mutability.
///
/// # Safety
///
/// The type is valid for any bytes, and reading it through a shared reference is
/// sound once all writes to it are ordered before.
pub unsafe trait StageTile {}

// SAFETY: elements of any bits behind an `UnsafeCell`.
unsafe impl<T: AnyBits, const ROWS: usize, const COLS: usize> StageTile
    for SharedTile<T, ROWS, COLS>
{
}

/// Fills one tile of a stage.
pub struct TileWriter<'s, Tile> {
    tile: *mut Tile,
    life: PhantomData<&'s mut Tile>,
}

impl<T: AnyBits, const ROWS: usize, const COLS: usize> TileWriter<'_, SharedTile<T, ROWS, COLS>> {
    /// Starts copying the part of `matrix` that begins at (`row`, `col`); what
    /// lies outside of the matrix becomes zero. All threads of the block make the
    /// call. PTX `cp.async.cg`, `sm_80`.
    ///
    /// # Panics
    ///
    /// If `col` is not the begin of a 16-byte chunk.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn copy(&mut self, matrix: &Matrix<'_, T>, row: usize, col: usize) {
        let chunk_len = SharedTile::<T, ROWS, COLS>::CHUNK_LEN;
        assert!(col.is_multiple_of(chunk_len), "a tile begins at a 16-byte chunk");
        let is_inside = row + ROWS <= matrix.rows() && col + COLS <= matrix.cols();
        if is_inside {
            self.for_each_chunk(|target, r, chunk| {
                let source = matrix.address(row + r, col + chunk * chunk_len);
                // SAFETY: a chunk of the tile, which is this writer's, and of the
                // matrix; both aligned.
                unsafe { copy_async_cg(target, source.cast()) };
            });
        } else {
            self.for_each_chunk(|target, r, chunk| {
                let (r, c) = (row + r, col + chunk * chunk_len);
                // Rows of a matrix are whole chunks long.
                let is_inside = r < matrix.rows() && c < matrix.cols();
                let source = if is_inside { matrix.address(r, c) } else { matrix.address(0, 0) };
                let bytes = if is_inside { CHUNK_BYTES as u32 } else { 0 };
                // SAFETY: as above; no byte is read outside of the matrix.
                unsafe { copy_async_or_zero(target, source.cast(), bytes) };
            });
        }
    }

    /// Calls `copy` with each of this thread's chunks: its address, row and number.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    fn for_each_chunk(&mut self, mut copy: impl FnMut(*mut [u8; CHUNK_BYTES], usize, usize)) {
        let chunks = SharedTile::<T, ROWS, COLS>::CHUNKS;
        let (threads, thread) = (block_threads() as usize, thread_linear() as usize);
        let tile = self.tile;
        let mut copy_one = |row: usize, chunk: usize| {
            let target = SharedTile::chunk(tile, row, chunk);
            copy(target.cast_mut().cast(), row, chunk);
        };
        // With a block shape that the kernel states, all of this is constant but the
        // thread, and the loop is unrolled.
        let rounds = ROWS * chunks / threads;
        if threads.is_multiple_of(chunks) {
            let (row, chunk) = (thread / chunks, thread % chunks);
            for round in 0..rounds {
                copy_one(row + round * (threads / chunks), chunk);
            }
        } else {
            for round in 0..rounds {
                let index = thread + round * threads;
                copy_one(index / chunks, index % chunks);
            }
        }
        let index = thread + rounds * threads;
        if index < ROWS * chunks {
            copy_one(index / chunks, index % chunks);
        }
    }
}

impl<L: StageTile, R: StageTile, const STAGES: usize> Shared<[Stage<L, R>; STAGES]> {
    /// Runs `steps` steps: `load(step, left, right)` starts the copies of a step, and
    /// `compute(left, right)` uses them when they have arrived. Copies run up to
    /// `STAGES - 1` steps ahead. All threads of the block make the call, with the
    /// same number of steps.
    #[inline(always)]
    #[cfg_attr(not(raddle_device), track_caller)]
    pub fn stream(
        &mut self,
        steps: usize,
        load: impl Fn(usize, &mut TileWriter<'_, L>, &mut TileWriter<'_, R>),
        mut compute: impl FnMut(&L, &R),
    ) {
        const { assert!(STAGES >= 2 && STAGES <= 9, "a ring has 2 to 9 stages") };
        let stages = self.as_ptr().cast::<Stage<L, R>>();
        let start = |step: usize, stage: usize| {
            if step < steps {
                let stage = stages.wrapping_add(stage);
                // SAFETY: a place of the ring.
                let (left, right) = unsafe { (&raw mut (*stage).left, &raw mut (*stage).right) };
                load(
                    step,
                    &mut TileWriter { tile: left, life: PhantomData },
                    &mut TileWriter { tile: right, life: PhantomData },
                );
            }
            // An empty group keeps the count of groups that waiting relies on.
            copy_async_commit();
        };
        // Readers of an earlier use of the ring are done.
        barrier();
        let mut step = 0;
        while step < STAGES - 1 {
            start(step, step);
            step += 1;
        }
        let (mut oldest, mut newest) = (0, STAGES - 1);
        for step in 0..steps {
            wait_for_all_but(STAGES - 2);
            // Everybody's copies of this step have arrived, and everybody is done
            // with the stage of the step before, which is filled next.
            barrier();
            start(step + STAGES - 1, newest);
            let stage = stages.wrapping_add(oldest);
            // SAFETY: a place of the ring that nobody writes before the barrier of
            // the next step.
            let (left, right) = unsafe { (&(*stage).left, &(*stage).right) };
            compute(left, right);
            oldest = if oldest + 1 == STAGES { 0 } else { oldest + 1 };
            newest = if newest + 1 == STAGES { 0 } else { newest + 1 };
        }
        copy_async_wait_all();
        barrier();
    }
}

/// [`copy_async_wait`] for a constant that cannot be a const argument.
#[inline(always)]
fn wait_for_all_but(groups: usize) {
    match groups {
        0 => copy_async_wait::<0>(),
        1 => copy_async_wait::<1>(),
        2 => copy_async_wait::<2>(),
        3 => copy_async_wait::<3>(),
        4 => copy_async_wait::<4>(),
        5 => copy_async_wait::<5>(),
        6 => copy_async_wait::<6>(),
        _ => copy_async_wait::<7>(),
    }
}
