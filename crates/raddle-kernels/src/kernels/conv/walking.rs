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
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, wgmma, wgmma_commit, wgmma_fence,
    wgmma_wait,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::bulk_copy_to_shared;
use raddle::device::unroll::unroll;
use raddle::prelude::*;

use super::result::{self, Tile};
use super::shifted::{COPIERS, NOWHERE};
use super::{Eight, GROUP_THREADS, Half, Operands, STEP, Shape, WEIGHT_BYTES};
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
/// Pixels that a thread finishes at a time, so that few waits for the residual follow each
/// other: sums hold no registers by then.
const FINISHED_TOGETHER: usize = 8;
/// Bytes of a tile with what is around it.
const SLOT_BYTES: usize = ROWS * STEP * 2;
/// Copies of a thread whose places are read together.
const TOGETHER: usize = 4;

const _: () = assert!(result::staged_bytes_whole(1, POSITIONS) <= SLOT_BYTES);

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
    let [first, _] = shape.inputs;
    let pitch = (first.size[1] + first.padding[1]) as u32;
    let image_rows = ((first.size[0] + first.padding[0]) as u32).max(1);
    let images = shape.pixels / shape.image_pixels.max(1);
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
        size: first.size,
        padding: first.padding,
        pitch,
        image_rows,
        images,
        before: first.padding[0] as u32 * pitch + first.padding[1] as u32,
        tile_row: block_x() % channel_tiles,
        first_tile: block_x() / channel_tiles,
        walkers: (grid_dim_x() / channel_tiles).max(1),
        tiles: (images * image_rows * pitch).div_ceil(POSITIONS as u32),
    };
    allow_next_kernel();
    let (group, warp) = (thread_x() as usize / GROUP_THREADS, thread_x() / 32);
    // SAFETY: each role does its part of the contract written at `Job`.
    unsafe {
        if warp == 0 {
            if thread_x() == 0 {
                job.copy_weights();
            }
        } else if group == 0 {
            job.copy_tiles();
        } else {
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
    /// Rows and columns of an image.
    size: [i32; 2],
    /// Zeros before rows and columns.
    padding: [i32; 2],
    /// Positions from a row to the next.
    pitch: u32,
    /// Rows of an image with the zeros before it.
    image_rows: u32,
    images: u32,
    /// Positions around a tile that lie before it.
    before: u32,
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
        let rows = POSITIONS + 2 * self.before as usize;
        let (mut number, mut tile) = (0, self.first_tile);
        while tile < self.tiles {
            let slot = self.slot(number);
            let table = self.tables.wrapping_add(slot * ROWS);
            self.empty[slot].suspend_parity((number / SLOTS as u32 + 1) % 2);
            for at in (copier..rows).step_by(COPIERS) {
                // Before the first position this wraps to images that there are not.
                let position = (tile * POSITIONS as u32 + at as u32).wrapping_sub(self.before);
                // SAFETY: the table has room for the positions around a tile.
                unsafe { table.add(at).write(self.pixel(position)) };
            }
            NamedBarrier::<1>.sync(COPIERS as u32);
            if copier == 0 {
                // The consumers read the table too.
                let _ = self.full[slot].arrive();
            }
            wait_for_previous_kernel();
            // SAFETY: the slot is empty, and the table has its rows.
            unsafe { self.copy_tile(slot, table, rows) };
            copy_async_arrive(&self.full[slot]);
            (number, tile) = (number + 1, tile + self.walkers);
        }
    }

    /// The pixel of a position.
    #[inline(always)]
    fn pixel(&self, position: u32) -> u32 {
        let (line, column) = (position / self.pitch.max(1), position % self.pitch.max(1));
        let (image, row) = (line / self.image_rows, line % self.image_rows);
        let row = row as i32 - self.padding[0];
        let column = column as i32 - self.padding[1];
        let is_there = image < self.images && row >= 0 && column >= 0;
        let pixel = (image as i32 * self.size[0] + row) * self.size[1] + column;
        if is_there { pixel as u32 } else { NOWHERE }
    }

    #[inline(always)]
    unsafe fn copy_tile(&self, slot: usize, table: *const u32, rows: usize) {
        let copier = thread_x() as usize - 32;
        let (lane, first_row) = (copier % 8, copier / 8);
        let [source, _] = self.operands.inputs;
        let source = source.wrapping_add(lane * 8);
        let patch = self.slots.wrapping_add(slot * SLOT_BYTES);
        const STRIDE: usize = COPIERS / 8;
        let mut row = first_row;
        while row < rows {
            let mut pixels = [NOWHERE; TOGETHER];
            for (i, pixel) in pixels.iter_mut().enumerate() {
                let row = row + i * STRIDE;
                if row < rows {
                    // SAFETY: the table has the rows.
                    *pixel = unsafe { table.add(row).read() };
                }
            }
            for (i, &pixel) in pixels.iter().enumerate() {
                let row = row + i * STRIDE;
                let is_there = pixel != NOWHERE;
                let element = if is_there { pixel as usize * STEP } else { 0 };
                let target = patch.wrapping_add(row * 128 + (lane ^ (row % 8)) * 16);
                if row < rows {
                    let source = source.wrapping_add(element).cast::<Eight<T>>();
                    let bytes = if is_there { 16 } else { 0 };
                    // SAFETY: the pixel lies in the images, or nothing is read.
                    unsafe { copy_async_or_zero(target.cast::<Eight<T>>(), source, bytes) };
                }
            }
            row += TOGETHER * STRIDE;
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
        let thread = thread_x() as usize % GROUP_THREADS;
        self.weighed.suspend_parity(0);
        wait_for_previous_kernel();
        let mut number = group as u32;
        let mut tile = self.first_tile + number * self.walkers;
        while tile < self.tiles {
            let slot = self.slot(number);
            self.full[slot].suspend_parity(number / SLOTS as u32 % 2);
            // Copies write by another path than the tensor cores read.
            fence_proxy_async_shared();
            if number > 0 {
                self.turns[group].suspend_parity((number - 1) / 2 % 2);
            }
            let memory = self.slots.wrapping_add(slot * SLOT_BYTES);
            // Anew for each tile: else its registers would be held while the result is
            // written.
            let mut acc = [0.0f32; R];
            // SAFETY: the warpgroup's threads run this together; the slot is full.
            unsafe {
                self.start(&mut acc, memory);
                if thread == 0 {
                    let _ = self.turns[1 - group].arrive();
                }
                wgmma_wait::<0, _>(&mut acc);
            }
            // All have read the tile: its memory is free.
            Self::meet(group);
            let result = Tile {
                shape: self.shape,
                bias: self.operands.bias,
                residual: self.operands.residual,
                out: self.operands.out,
                staged: memory,
                row: self.tile_row,
            };
            let table = self.tables.wrapping_add(slot * ROWS + self.before as usize);
            let place = |at: usize| {
                // SAFETY: the table has the tile's positions.
                let pixel = unsafe { table.add(at).read() };
                (pixel != NOWHERE).then_some(pixel as usize)
            };
            // SAFETY: the tile is this warpgroup's, whose threads come here together.
            unsafe {
                result.stage::<1, R>(&mut acc, 0, 1);
                Self::meet(group);
                result.finish_by::<1, R, FINISHED_TOGETHER>([thread, GROUP_THREADS], [0, 1], place);
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
                    let shift = (row * self.pitch + column) as usize * 128;
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
