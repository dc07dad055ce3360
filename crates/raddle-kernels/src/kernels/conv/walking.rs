//! Convolution of 64 channels by blocks that stay: each keeps the weights of 64 outputs in
//! shared memory and walks over tiles of pixels, which are shifted for each tap as in the
//! [module beside](super::shifted).
//!
//! Three warps copy pixels ahead, and two warpgroups take the tiles in turn: while one
//! sums its tile, the other writes the one before. They pass each other the turn, so that
//! the tensor cores work on one tile after the other and not on two at half the speed.
//! A tile's memory is where its result is staged; the copiers get it back when that is
//! written.

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, registers_decrease,
    registers_increase, wgmma, wgmma_commit, wgmma_fence, wgmma_wait,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::bulk_copy_to_shared;
use raddle::device::unroll::unroll;
use raddle::prelude::*;

use super::positions::{self, COPIERS, Positions};
use super::result::{self, Share, Tile};
use super::{GROUP_CHANNELS, GROUP_THREADS, Half, Operands, STEP, Shape, WEIGHT_BYTES};
use tile_64x256::{POSITIONS, ROWS, THREADS};

/// The numbers of the kernel.
pub mod tile_64x256 {
    /// Positions of a tile.
    pub const POSITIONS: usize = 256;
    /// Positions that a tile can have in shared memory.
    pub const ROWS: usize = 384;
    /// Threads of a block: one warpgroup copies, two sum.
    pub const THREADS: u32 = 3 * super::GROUP_THREADS as u32;
    /// Dynamic shared memory of a launch.
    pub const SHARED_BYTES: usize = super::TAPS_MAX * super::WEIGHT_BYTES
        + super::SLOTS * (super::SLOT_BYTES + ROWS * 4)
        + 1024;
}

/// Taps at most.
pub const TAPS_MAX: usize = 9;
/// Accumulators of a thread.
const R: usize = POSITIONS / 2;
/// Tiles that are in shared memory at a time: one is summed, one written, one copied.
const SLOTS: usize = 3;
/// Pixels of a thread: all of them at a time, since the residuals are read while the
/// products run.
const FINISHED_TOGETHER: usize = POSITIONS * GROUP_CHANNELS / 8 / GROUP_THREADS;
/// Bytes of a tile with what is around it.
const SLOT_BYTES: usize = ROWS * STEP * 2;

const _: () = assert!(result::staged_bytes(1, POSITIONS) <= SLOT_BYTES);

/// The convolution of 64 channels in tiles of 64 outputs and 256 positions.
///
/// # Safety
///
/// `shape` describes what lies at the pointers, with one input of 64 channels, steps of
/// one, an output of the input's size and at most [`TAPS_MAX`] taps; a tile with the
/// positions around it has at most `ROWS`. The launch has the threads and shared memory
/// of [`tile_64x256`], and a multiple of `channel_tiles` blocks.
#[kernel(block = THREADS, min_blocks = 1, arch = 90, instances(f16, bf16))]
#[allow(clippy::too_many_arguments)]
// As its one caller has it: LLVM would do so behind its passes, since products have to
// stand in the kernel, and the code that it makes then was not measured.
#[inline(always)]
pub unsafe fn walking_64x256<T: Half>(
    shape: Shape,
    input: *const T,
    shortcut: *const T,
    weights: *const T,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let mut full = shared!([Mbarrier; SLOTS]);
    let mut empty = shared!([Mbarrier; SLOTS]);
    let mut turns = shared!([Mbarrier; 2]);
    let mut weighed = shared!([Mbarrier; 1]);
    // The copiers, and the first of them once more for the table.
    let full = full.init_mbarriers(|_| COPIERS as u32 + 1);
    let empty = empty.init_mbarriers(|_| GROUP_THREADS as u32);
    let turns = turns.init_mbarriers(|_| 1);
    let weighed = weighed.init_mbarriers(|_| 1);
    // The first thread, which initialised them, also starts the copy that one counts.
    fence_mbarrier_init();
    let (memory, _) = dynamic_shared::<u8>();
    let memory = memory.wrapping_add(memory.align_offset(1024));
    let slots = memory.wrapping_add(TAPS_MAX * WEIGHT_BYTES);
    let channel_tiles = shape.channel_tiles.max(1);
    let ([first, _], positions) = (shape.inputs, Positions::new(&shape));
    let job = Job {
        shape: &shape,
        operands: Operands { inputs: [input, shortcut], weights, bias, residual, out },
        full,
        empty,
        turns,
        weighed: &weighed[0],
        weights: memory,
        slots,
        tables: slots.wrapping_add(SLOTS * SLOT_BYTES).cast::<u32>(),
        filter: [first.filter_height, first.filter_width],
        positions,
        tile_row: block_x() % channel_tiles,
        first_tile: block_x() / channel_tiles,
        walkers: (grid_dim_x() / channel_tiles).max(1),
        tiles: positions.count().div_ceil(POSITIONS as u32),
    };
    allow_next_kernel();
    let (group, warp) = (thread_x() as usize / GROUP_THREADS, thread_x() / 32);
    // SAFETY: each role does its part of the contract written at `Job`.
    unsafe {
        if group == 0 {
            // The three warpgroups ask for 40 + 2 * 232 registers of the 3 * 168 that the
            // block begins with.
            registers_decrease::<40>();
            match warp {
                0 if thread_x() == 0 => job.copy_weights(),
                0 => {}
                _ => job.copy_tiles(),
            }
        } else {
            registers_increase::<232>();
            job.consume(group - 1);
        }
    }
}

/// One block's work. A slot belongs to the copiers from the arrival of a consumer's
/// threads at its empty barrier until theirs at its full one. A consumer may sum a tile
/// when the other has arrived at its turn.
struct Job<'a, T> {
    shape: &'a Shape,
    operands: Operands<T>,
    full: &'a [Mbarrier; SLOTS],
    empty: &'a [Mbarrier; SLOTS],
    turns: &'a [Mbarrier; 2],
    weighed: &'a Mbarrier,
    weights: *mut u8,
    slots: *mut u8,
    /// The pixel of each position around a slot's tile.
    tables: *mut u32,
    /// Rows and columns of the filter.
    filter: [u32; 2],
    positions: Positions,
    tile_row: u32,
    /// This block's first tile, and how many further each next one is.
    first_tile: u32,
    walkers: u32,
    /// Tiles of all blocks.
    tiles: u32,
}

impl<T: Half> Job<'_, T> {
    #[inline(always)]
    fn slot(&self, number: u32) -> usize {
        number as usize % SLOTS
    }

    #[inline(always)]
    unsafe fn copy_weights(&self) {
        let bytes = self.filter[0] * self.filter[1] * WEIGHT_BYTES as u32;
        let _ = self.weighed.arrive_expect_tx(bytes);
        let source = self.operands.weights.wrapping_add((self.tile_row * bytes / 2) as usize);
        // SAFETY: the packed weights have this part, and nobody uses the memory.
        unsafe { bulk_copy_to_shared(self.weights, source.cast(), bytes, self.weighed) };
    }

    /// Copies the pixels of all tiles.
    #[inline(always)]
    unsafe fn copy_tiles(&self) {
        let copier = thread_x() as usize - 32;
        let (positions, [source, _]) = (self.positions, self.operands.inputs);
        let rows = positions.around(POSITIONS);
        let (mut number, mut tile) = (0, self.first_tile);
        while tile < self.tiles {
            let slot = self.slot(number);
            let table = self.tables.wrapping_add(slot * ROWS);
            self.empty[slot].suspend_parity((number / SLOTS as u32 + 1) % 2);
            for at in (copier..rows).step_by(COPIERS) {
                let position = tile * POSITIONS as u32 + at as u32;
                let spot = positions.spot(position.wrapping_sub(positions.before));
                // SAFETY: the table has room for the positions around a tile.
                unsafe { table.add(at).write(positions.pixel(&spot)) };
            }
            NamedBarrier::<1>.sync(COPIERS as u32);
            if copier == 0 {
                // The consumers read the table too.
                let _ = self.full[slot].arrive();
            }
            wait_for_previous_kernel();
            let patch = self.slots.wrapping_add(slot * SLOT_BYTES);
            // SAFETY: the slot is empty, and the table has its rows.
            unsafe { positions::copy_rows(table, rows, source, STEP as u32, patch) };
            copy_async_arrive(&self.full[slot]);
            (number, tile) = (number + 1, tile + self.walkers);
        }
    }

    /// Waits for this warpgroup's threads.
    #[inline(always)]
    fn meet(group: usize) {
        match group {
            0 => NamedBarrier::<2>.sync(GROUP_THREADS as u32),
            _ => NamedBarrier::<3>.sync(GROUP_THREADS as u32),
        }
    }

    /// Sums and writes every second tile.
    #[inline(always)]
    unsafe fn consume(&self, group: usize) {
        let is_first = (thread_x() as usize).is_multiple_of(GROUP_THREADS);
        let mut result = Tile {
            shape: self.shape,
            bias: self.operands.bias,
            residual: self.operands.residual,
            out: self.operands.out,
            staged: self.slots,
            row: self.tile_row,
        };
        let bias = result.bias::<1>(0);
        let share = Share::new::<1>(&result, GROUP_THREADS, POSITIONS);
        self.weighed.suspend_parity(0);
        wait_for_previous_kernel();
        let mut number = group as u32;
        let mut tile = self.first_tile + number * self.walkers;
        while tile < self.tiles {
            let slot = self.slot(number);
            self.full[slot].suspend_parity(number / SLOTS as u32 % 2);
            // Copies write by another path than the tensor cores read.
            fence_proxy_async_shared();
            result.staged = self.slots.wrapping_add(slot * SLOT_BYTES);
            let table = self.tables.wrapping_add(slot * ROWS + self.positions.before as usize);
            // SAFETY: the table has the tile's positions.
            let place = |at: usize| unsafe { positions::pixel_in(table, at) };
            // SAFETY: the kernel before has ended.
            let ahead = unsafe { result.ahead_by::<FINISHED_TOGETHER>(&share, place) };
            if number > 0 {
                self.turns[group].suspend_parity((number - 1) / 2 % 2);
            }
            // Anew for each tile: else its registers would be held while the result is
            // written.
            let mut acc = [0.0f32; R];
            // SAFETY: the warpgroup's threads run this together; the slot is full.
            unsafe {
                self.start(&mut acc, result.staged);
                if is_first {
                    let _ = self.turns[1 - group].arrive();
                }
                wgmma_wait::<0, _>(&mut acc);
            }
            // All have read the tile: its memory is free.
            Self::meet(group);
            // SAFETY: the tile is this warpgroup's, whose threads come here together.
            unsafe {
                result.stage::<1, R>(&mut acc, bias, 0);
                Self::meet(group);
                result.finish_by::<1, FINISHED_TOGETHER>(&share, ahead, place);
            }
            let _ = self.empty[slot].arrive();
            (number, tile) = (number + 2, tile + 2 * self.walkers);
        }
    }

    /// Starts the products of a tile.
    #[inline(always)]
    unsafe fn start(&self, acc: &mut [f32; R], pixels: *const u8) {
        let layout = SharedLayout::dense(Swizzle::Span128);
        let mut weights = self.weights;
        // SAFETY: the caller's contract; weights and pixels are there.
        unsafe {
            wgmma_fence(acc);
            for row in 0..self.filter[0] {
                for column in 0..self.filter[1] {
                    let shift = (row * self.positions.pitch + column) as usize * 128;
                    let left = Operand::<T, KMajor>::new(MatrixDescriptor::new(weights, layout));
                    let right = MatrixDescriptor::new(pixels.wrapping_add(shift), layout);
                    let right = Operand::<T, KMajor>::new(right);
                    unroll::<{ STEP / 16 }>(|part| {
                        let accumulates = row + column + part as u32 > 0;
                        let at = 32 * part as u32;
                        wgmma(acc, left.advance(at), right.advance(at), accumulates);
                    });
                    weights = weights.wrapping_add(WEIGHT_BYTES);
                }
            }
            wgmma_commit();
        }
    }
}
