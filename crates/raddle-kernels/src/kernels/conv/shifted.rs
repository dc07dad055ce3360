//! Convolution with steps of one as a matrix product whose right operand is shifted
//! instead of gathered anew for each tap.
//!
//! Pixels are numbered with the padding between them: `c` zeros before each row and `r`
//! rows of zeros before each image, of which the last column of a row and the last row of
//! an image have their share as well.
//!
//! ```text
//! width 3, one zero:  0 0 0 0 | 0 a b c | 0 d e f | 0 0 0 0 | 0 g h i ...
//! ```
//!
//! Then the tap at row `i` and column `j` of the filter reads, for all positions of a
//! tile, the positions `(i - r) * pitch + j - c` further. The tile's positions with those
//! around them lie in shared memory once for each 64 channels, a row of 128 bytes for
//! each, and a tap's operand is the same memory from another row on. Positions of the
//! padding are computed like others and not written; that is the price, one column and
//! row of the image.
//!
//! The first warp of a block copies weights, three more copy pixels, and each further
//! four warps sum 64 channels. What follows, splitting of `k` included, is as in the
//! [module above](super).

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, wgmma, wgmma_commit, wgmma_fence,
    wgmma_fence_running, wgmma_wait, wgmma_wait_running,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::bulk_copy_to_shared;
use raddle::prelude::*;

use super::ending::{Ahead, Ending};
use super::parts;
use super::positions::{self, COPIERS, Positions};
use super::result::{self, Tile};
use super::{GROUP_CHANNELS, GROUP_THREADS, Half, Operands, STEP, Shape, WEIGHT_BYTES};

/// Patches that are in shared memory at a time.
const PATCHES: usize = 2;
/// Declares the kernel of one tile shape: the module holds its numbers.
macro_rules! tile {
    ($name:ident, $module:ident: $groups:literal x $positions:literal, $rows:literal rows, $stages:literal stages) => {
        /// The numbers of the kernel.
        pub mod $module {
            /// Consumer warpgroups, of 64 channels each.
            pub const GROUPS: usize = $groups;
            /// Positions of a tile.
            pub const POSITIONS: usize = $positions;
            /// Positions that a tile can have in shared memory.
            pub const ROWS: usize = $rows;
            /// Stages of weights.
            pub const STAGES: usize = $stages;
            /// Threads of a block.
            pub const THREADS: u32 = 128 * (GROUPS as u32 + 1);
            /// Dynamic shared memory of a launch whose tiles have so many positions with
            /// those around, `ROWS` at most.
            #[must_use]
            pub const fn shared_bytes(around: usize, is_split: bool) -> usize {
                let received =
                    if is_split { super::parts::received_bytes(GROUPS, POSITIONS) } else { 0 };
                super::weight_bytes(GROUPS, POSITIONS, STAGES)
                    + super::PATCHES * super::patch_bytes(around)
                    + received
                    + (ROWS + POSITIONS) * 4
                    + 1024
            }

            const _: () = assert!(
                shared_bytes(ROWS, super::parts::can_split(GROUPS, POSITIONS)) <= 227 * 1024
            );
        }

        /// The convolution in tiles of these channels and positions.
        ///
        /// # Safety
        ///
        /// `shape` describes what lies at the pointers, with steps of one, an output of
        /// the input's size, and channels in 64s; a tile with the positions around it has
        /// at most the module's rows; a shortcut's filter has one tap. The launch is as
        /// for the kernels of the module above.
        #[kernel(block = $module::THREADS, min_blocks = 1, arch = 90, instances(f16, bf16))]
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $name<T: Half>(
            shape: Shape,
            input: *const T,
            shortcut: *const T,
            weights: *const T,
            bias: *const f32,
            residual: *const T,
            out: *mut T,
        ) {
            let operands = Operands { inputs: [input, shortcut], weights, bias, residual, out };
            // SAFETY: the caller's contract.
            unsafe {
                convolve::<
                    T,
                    { $module::GROUPS },
                    { $module::POSITIONS / 2 },
                    { $module::ROWS },
                    { $module::STAGES },
                >(&shape, operands);
            }
        }
    };
}

tile!(shifted_64x64, tile_64x64: 1 x 64, 192 rows, 7 stages);
tile!(shifted_64x128, tile_64x128: 1 x 128, 256 rows, 5 stages);
tile!(shifted_64x256, tile_64x256: 1 x 256, 384 rows, 8 stages);
tile!(shifted_128x128, tile_128x128: 2 x 128, 256 rows, 6 stages);
tile!(shifted_128x208, tile_128x208: 2 x 208, 328 rows, 8 stages);
tile!(shifted_128x224, tile_128x224: 2 x 224, 344 rows, 8 stages);
tile!(shifted_128x256, tile_128x256: 2 x 256, 384 rows, 6 stages);

/// The weights in shared memory, whose place the staged result takes.
const fn weight_bytes(groups: usize, positions: usize, stages: usize) -> usize {
    let bytes = stages * groups * WEIGHT_BYTES;
    assert!(result::staged_bytes(groups, positions) <= bytes);
    bytes
}

/// A patch of so many rows, in whole spans of the swizzle.
const fn patch_bytes(around: usize) -> usize {
    around.next_multiple_of(8) * STEP * 2
}

#[inline(always)]
unsafe fn convolve<
    T: Half,
    const GROUPS: usize,
    const R: usize,
    const ROWS: usize,
    const STAGES: usize,
>(
    shape: &Shape,
    operands: Operands<T>,
) {
    let mut full = shared!([Mbarrier; STAGES]);
    let mut empty = shared!([Mbarrier; STAGES]);
    let mut patch_full = shared!([Mbarrier; PATCHES]);
    let mut patch_empty = shared!([Mbarrier; PATCHES]);
    let mut located = shared!([Mbarrier; 1]);
    let mut arrived = shared!([Mbarrier; 1]);
    let full = full.init_mbarriers(|_| 1);
    let empty = empty.init_mbarriers(|_| GROUPS as u32);
    let patch_full = patch_full.init_mbarriers(|_| COPIERS as u32);
    let patch_empty = patch_empty.init_mbarriers(|_| GROUPS as u32);
    let located = located.init_mbarriers(|_| COPIERS as u32);
    let arrived = arrived.init_mbarriers(|_| 1);
    // The first thread, which initialised them, also starts the copies that they count.
    fence_mbarrier_init();
    let (memory, _) = dynamic_shared::<u8>();
    let weights = memory.wrapping_add(memory.align_offset(1024));
    let patches = weights.wrapping_add(const { weight_bytes(GROUPS, 2 * R, STAGES) });
    let positions = Positions::new(shape);
    let patch_bytes = patch_bytes(positions.around(2 * R));
    let split = shape.split.max(1);
    let received = patches.wrapping_add(PATCHES * patch_bytes);
    let received_bytes = if split > 1 { parts::received_bytes(GROUPS, 2 * R) } else { 0 };
    let table = received.wrapping_add(received_bytes).cast::<u32>();
    let (rank, tile) = (block_x() % split, block_x() / split);
    let channel_tiles = shape.channel_tiles.max(1);
    let (tile_row, tile_column) = (tile % channel_tiles, tile / channel_tiles);
    let steps = shape.inputs[0].steps + shape.inputs[1].steps;
    let job = Job {
        shape,
        operands,
        ending: Ending {
            tile: Tile {
                shape,
                bias: operands.bias,
                residual: operands.residual,
                out: operands.out,
                staged: weights,
                row: tile_row,
            },
            received,
            arrived: &arrived[0],
            rank,
            split,
        },
        full,
        empty,
        patch_full,
        patch_empty,
        located: &located[0],
        weights,
        patches,
        patch_bytes,
        table,
        first_position: tile_column * (2 * R) as u32,
        positions,
        tile_row,
        steps: [steps * rank / split, steps * (rank + 1) / split],
    };
    job.ending.begin::<GROUPS, R>();
    allow_next_kernel();
    let (group, warp) = (thread_x() as usize / GROUP_THREADS, thread_x() / 32);
    // SAFETY: each role does its part of the contract written at `Job`.
    let ahead = unsafe {
        if warp == 0 {
            if thread_x() == 0 {
                job.copy_weights::<GROUPS>();
            }
            job.ahead::<GROUPS, R>()
        } else if group == 0 {
            job.copy_patches::<R, ROWS>();
            job.ahead::<GROUPS, R>()
        } else {
            job.consume::<GROUPS, R>(group - 1)
        }
    };
    // SAFETY: all roles are done.
    unsafe { job.ending.finish::<GROUPS, R>(ahead, |at| job.pixel(at)) };
}

/// One block's work. A stage of weights belongs to the first thread, and a patch to the
/// copiers, from the consumers' arrival at its empty barrier until theirs at its full
/// one; after the last step all is the consumers', who may stage their result there.
struct Job<'a, T, const STAGES: usize> {
    shape: &'a Shape,
    operands: Operands<T>,
    ending: Ending<'a, T>,
    full: &'a [Mbarrier; STAGES],
    empty: &'a [Mbarrier; STAGES],
    patch_full: &'a [Mbarrier; PATCHES],
    patch_empty: &'a [Mbarrier; PATCHES],
    /// Where the copiers arrive when the table is written.
    located: &'a Mbarrier,
    /// A ring of stages, then the patches.
    weights: *mut u8,
    patches: *mut u8,
    patch_bytes: usize,
    /// The pixel of each position around the tile, then that of the shortcut's input for
    /// each position of the tile.
    table: *mut u32,
    first_position: u32,
    positions: Positions,
    tile_row: u32,
    /// First step and the one behind the last.
    steps: [u32; 2],
}

/// The 64 channels that a step is about: which input, which of its 64s, and the tap.
#[derive(Clone, Copy)]
struct Slice {
    is_shortcut: bool,
    slice: u32,
    tap: u32,
}

impl<T: Half, const STAGES: usize> Job<'_, T, STAGES> {
    /// The output's pixel that a position of the tile is, once the table is written.
    #[inline(always)]
    fn pixel(&self, at: usize) -> Option<usize> {
        // SAFETY: the table has the tile's positions.
        unsafe { positions::pixel_in(self.table.add(self.positions.before as usize), at) }
    }

    /// What this thread needs when its sums are there.
    #[inline(always)]
    unsafe fn ahead<const GROUPS: usize, const R: usize>(&self) -> Ahead<T> {
        self.located.suspend_parity(0);
        wait_for_previous_kernel();
        // SAFETY: the kernel before has ended.
        unsafe { self.ending.ahead::<GROUPS, R>(|at| self.pixel(at)) }
    }

    #[inline(always)]
    fn patch(&self, number: u32) -> *mut u8 {
        self.patches.wrapping_add(number as usize % PATCHES * self.patch_bytes)
    }

    #[inline(always)]
    fn stage<const GROUPS: usize>(&self, stage: usize) -> *mut u8 {
        self.weights.wrapping_add(stage * GROUPS * WEIGHT_BYTES)
    }

    #[inline(always)]
    fn slice(&self, step: u32) -> Slice {
        let [first, _] = self.shape.inputs;
        if step >= first.steps {
            return Slice { is_shortcut: true, slice: step - first.steps, tap: 0 };
        }
        let taps = first.taps.max(1);
        Slice { is_shortcut: false, slice: step / taps, tap: step % taps }
    }

    /// The slice of the step behind one.
    #[inline(always)]
    fn advance(&self, slice: &mut Slice) {
        let [first, _] = self.shape.inputs;
        slice.tap += 1;
        if slice.is_shortcut || slice.tap == first.taps {
            *slice = Slice { slice: slice.slice + 1, tap: 0, ..*slice };
            if !slice.is_shortcut && slice.slice * first.taps == first.steps {
                *slice = Slice { is_shortcut: true, slice: 0, tap: 0 };
            }
        }
    }

    /// Copies the weights of all steps; they are constants and wait for no kernel.
    #[inline(always)]
    unsafe fn copy_weights<const GROUPS: usize>(&self) {
        let [begin, end] = self.steps;
        let all = self.shape.inputs[0].steps + self.shape.inputs[1].steps;
        for step in begin..end {
            let turn = step - begin;
            let stage = (turn % STAGES as u32) as usize;
            self.empty[stage].suspend_parity((turn / STAGES as u32 + 1) % 2);
            let barrier = &self.full[stage];
            let _ = barrier.arrive_expect_tx((GROUPS * WEIGHT_BYTES) as u32);
            for group in 0..GROUPS {
                let block = (self.tile_row * GROUPS as u32 + group as u32) * all + step;
                let source =
                    self.operands.weights.wrapping_add(block as usize * (WEIGHT_BYTES / 2));
                let target = self.stage::<GROUPS>(stage).wrapping_add(group * WEIGHT_BYTES);
                // SAFETY: the stage is empty, and the packed weights have this piece.
                unsafe { bulk_copy_to_shared(target, source.cast(), WEIGHT_BYTES as u32, barrier) };
            }
        }
    }

    /// Notes which pixel each position is.
    #[inline(always)]
    unsafe fn locate<const R: usize, const ROWS: usize>(&self) {
        let (positions, [_, second]) = (self.positions, self.shape.inputs);
        let copier = thread_x() as usize - 32;
        for at in (copier..positions.around(2 * R)).step_by(COPIERS) {
            let position = self.first_position + at as u32;
            let spot = positions.spot(position.wrapping_sub(positions.before));
            // SAFETY: the table has room for the positions around a tile.
            unsafe { self.table.add(at).write(positions.pixel(&spot)) };
            let within = (at as u32).wrapping_sub(positions.before) as usize;
            if second.steps > 0 && within < 2 * R {
                let line = spot.image * second.size[0] + spot.row * second.stride[0];
                let pixel = line * second.size[1] + spot.column * second.stride[1];
                let pixel = if spot.is_there { pixel as u32 } else { positions::NOWHERE };
                // SAFETY: and for the shortcut's of the tile.
                unsafe { self.table.add(ROWS + within).write(pixel) };
            }
        }
    }

    /// Copies the patches of all slices.
    #[inline(always)]
    unsafe fn copy_patches<const R: usize, const ROWS: usize>(&self) {
        // SAFETY: nobody uses the table before the barrier.
        unsafe { self.locate::<R, ROWS>() };
        let _ = self.located.arrive();
        NamedBarrier::<1>.sync(COPIERS as u32);
        wait_for_previous_kernel();
        let [begin, end] = self.steps;
        let mut slice = self.slice(begin);
        let (mut step, mut number) = (begin, 0);
        while step < end {
            self.patch_empty[number as usize % PATCHES]
                .suspend_parity((number / PATCHES as u32 + 1) % 2);
            // SAFETY: the patch is empty.
            unsafe { self.copy_patch::<R, ROWS>(&slice, number) };
            copy_async_arrive(&self.patch_full[number as usize % PATCHES]);
            let left = if slice.is_shortcut { 1 } else { self.shape.inputs[0].taps - slice.tap };
            step += left;
            number += 1;
            // The last tap of the slice, and the one behind.
            slice.tap += left - 1;
            self.advance(&mut slice);
        }
    }

    #[inline(always)]
    unsafe fn copy_patch<const R: usize, const ROWS: usize>(&self, slice: &Slice, number: u32) {
        let [first, second] = self.shape.inputs;
        let [first_source, second_source] = self.operands.inputs;
        let (rows, table, source, channels) = match slice.is_shortcut {
            true => (2 * R, self.table.wrapping_add(ROWS), second_source, second.channels),
            false => (self.positions.around(2 * R), self.table, first_source, first.channels),
        };
        let source = source.wrapping_add(slice.slice as usize * STEP);
        let patch = self.patch(number);
        // SAFETY: the caller's contract.
        unsafe { positions::copy_rows(table, rows, source, channels, patch) };
    }

    /// Multiplies and hands the sums over.
    #[inline(always)]
    unsafe fn consume<const GROUPS: usize, const R: usize>(&self, group: usize) -> Ahead<T> {
        let bias = self.ending.tile.bias::<GROUPS>(group);
        let mut ahead = Ahead::nothing();
        if result::holds_residuals(GROUPS, R) {
            // SAFETY: the caller's contract.
            ahead = unsafe { self.ahead::<GROUPS, R>() };
        }
        let mut acc = [0.0f32; R];
        let [begin, end] = self.steps;
        let width = self.shape.inputs[0].filter_width;
        let is_first = (thread_x() as usize).is_multiple_of(GROUP_THREADS);
        let mut slice = self.slice(begin);
        let (mut number, mut is_new, mut ends_patch) = (0, true, false);
        let mut column = slice.tap % width.max(1);
        let mut shift = slice.tap / width.max(1) * self.positions.pitch + column;
        let layout = SharedLayout::dense(Swizzle::Span128);
        // SAFETY: the warpgroup's threads run this together; what is read is full.
        unsafe {
            wgmma_fence(&mut acc);
            for turn in 0..end - begin {
                let stage = (turn % STAGES as u32) as usize;
                if is_new {
                    self.patch_full[number as usize % PATCHES]
                        .suspend_parity(number / PATCHES as u32 % 2);
                    // Copies write by another path than the tensor cores read.
                    fence_proxy_async_shared();
                }
                self.full[stage].suspend_parity(turn / STAGES as u32 % 2);
                let weights = self.stage::<GROUPS>(stage);
                let weights =
                    MatrixDescriptor::new(weights.wrapping_add(group * WEIGHT_BYTES), layout);
                let weights = Operand::<T, KMajor>::new(weights);
                let shift_bytes = if slice.is_shortcut { 0 } else { shift as usize * 128 };
                let pixels = self.patch(number).wrapping_add(shift_bytes);
                let pixels = MatrixDescriptor::new(pixels, layout);
                let pixels = Operand::<T, KMajor>::new(pixels);
                wgmma_fence_running();
                for part in 0..STEP as u32 / 16 {
                    wgmma(&mut acc, weights.advance(32 * part), pixels.advance(32 * part), true);
                }
                wgmma_commit();
                if turn > 0 {
                    // The products of the step before are done.
                    wgmma_wait_running::<1>();
                    if is_first {
                        let _ = self.empty[((turn - 1) % STAGES as u32) as usize].arrive();
                        if ends_patch {
                            let _ = self.patch_empty[(number - 1) as usize % PATCHES].arrive();
                        }
                    }
                }
                let before = slice;
                self.advance(&mut slice);
                (column, shift) = (column + 1, shift + 1);
                if column == width {
                    (column, shift) = (0, shift + self.positions.pitch - width);
                }
                ends_patch = slice.slice != before.slice || slice.is_shortcut != before.is_shortcut;
                is_new = ends_patch;
                if ends_patch {
                    (column, shift) = (0, 0);
                    number += 1;
                }
            }
            wgmma_wait::<0, _>(&mut acc);
        }
        // SAFETY: the memory is the consumers', and their threads come here together.
        unsafe {
            self.ending.hand_over::<GROUPS, R>(&mut acc, bias, group);
            if !result::holds_residuals(GROUPS, R) {
                ahead = self.ahead::<GROUPS, R>();
            }
        }
        ahead
    }
}

const _: () = assert!(GROUP_CHANNELS == STEP);
