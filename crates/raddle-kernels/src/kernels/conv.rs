//! Convolution as a matrix product on Hopper's tensor cores, without a matrix of
//! patches (implicit GEMM).
//!
//! ```text
//! out[pixel, channel] = act(sum over k of w[channel, k] * patch[pixel, k] + bias[channel] + residual[pixel, channel])
//! ```
//!
//! `k` runs in steps of 64, one swizzle span. Where the input's channels are whole 64s, it
//! runs over 64s of channels and, within one, over the taps of the filter, so that the
//! taps find their pixels in L1; else over taps and, within one, over channels. The weights are the left operand, packed ahead so that
//! a step of 64 channels is one contiguous, swizzled piece of 8 KiB; the pixels are the
//! right one, gathered by `cp.async` 8 channels at a time, which fetches zeros outside
//! of the image. A block has one producer warpgroup and one consumer warpgroup for each
//! 64 channels, with a ring of stages between them.
//!
//! A second input may follow the first in `k`: the shortcut of a residual block, a
//! convolution of its own whose sum goes to the same place.
//!
//! Where tiles are fewer than multiprocessors the blocks of a cluster share one tile:
//! each sums a part of `k`, and then adds up a part of the pixels in the order of the
//! ranks, which the others send to its shared memory. Results do not depend on timing.

mod elements;
mod ending;
pub mod parts;
mod positions;
mod result;
mod shape;
pub mod shifted;
pub mod stem;
pub mod walking;

use raddle::device::matrix::{
    KMajor, MatrixDescriptor, Operand, SharedLayout, Swizzle, wgmma, wgmma_commit, wgmma_fence,
    wgmma_fence_running, wgmma_wait, wgmma_wait_running,
};
use raddle::device::mbarrier::Mbarrier;
use raddle::device::tma::bulk_copy_to_shared;
use raddle::device::unroll::unroll;
use raddle::prelude::*;

use ending::{Ahead, Ending};
use result::Tile;

pub(super) use elements::clamp;
pub use elements::{Activation, Eight, Half};
pub use shape::{Gather, Shape};

/// Elements of `k` in a step.
pub const STEP: usize = 64;
/// Channels of a consumer warpgroup.
pub const GROUP_CHANNELS: usize = 64;
/// Bytes of 64 channels' weights in a step.
const WEIGHT_BYTES: usize = GROUP_CHANNELS * STEP * 2;
/// Threads of a warpgroup.
const GROUP_THREADS: usize = 128;

/// Memory of a convolution.
#[derive(Clone, Copy)]
struct Operands<T> {
    inputs: [*const T; 2],
    weights: *const T,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
}

/// Declares the kernel of one tile shape: the module holds its numbers.
macro_rules! tile {
    ($(#[$doc:meta])* $name:ident, $module:ident: $groups:literal x $pixels:literal, $stages:literal stages) => {
        /// The numbers of the kernel.
        pub mod $module {
            /// Consumer warpgroups, of 64 channels each.
            pub const GROUPS: usize = $groups;
            /// Pixels of a tile.
            pub const PIXELS: usize = $pixels;
            /// Stages of the ring.
            pub const STAGES: usize = $stages;
            /// Threads of a block.
            pub const THREADS: u32 = 128 * (GROUPS as u32 + 1);
            /// Dynamic shared memory of a launch.
            #[must_use]
            pub const fn shared_bytes(is_split: bool) -> usize {
                let received =
                    if is_split { super::parts::received_bytes(GROUPS, PIXELS) } else { 0 };
                super::shared_bytes(GROUPS, PIXELS, STAGES) + received
            }
        }

        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// `shape` describes what lies at the pointers; the launch has the threads
        /// and shared memory of the module of this kernel, a grid of
        /// `channel_tiles * pixel tiles * split` blocks in clusters of `split`, which is a
        /// power of two and more than 1 only where [`parts::can_split`] allows it.
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
                convolve::<T, { $module::GROUPS }, { $module::PIXELS / 2 }, { $module::STAGES }>(
                    &shape, operands,
                );
            }
        }
    };
}

tile! {
    /// Tiles of 64 channels and 64 pixels.
    conv_64x64, tile_64x64: 1 x 64, 5 stages
}
tile! {
    /// Tiles of 64 channels and 128 pixels.
    conv_64x128, tile_64x128: 1 x 128, 3 stages
}
tile! {
    /// Tiles of 64 channels and 256 pixels.
    conv_64x256, tile_64x256: 1 x 256, 3 stages
}
tile! {
    /// Tiles of 128 channels and 128 pixels.
    conv_128x128, tile_128x128: 2 x 128, 4 stages
}
tile! {
    /// Tiles of 128 channels and 208 pixels, which fill the multiprocessors of an H100
    /// better where tiles are few.
    conv_128x208, tile_128x208: 2 x 208, 5 stages
}
tile! {
    /// Tiles of 128 channels and 256 pixels.
    conv_128x256, tile_128x256: 2 x 256, 4 stages
}

/// Shared memory of a tile that is not shared: the ring, which the staged result takes
/// over, and the table of pixels. Parts of a shared tile arrive behind it.
const fn shared_bytes(groups: usize, pixels: usize, stages: usize) -> usize {
    let ring = stages * (groups * WEIGHT_BYTES + pixels * STEP * 2);
    let staged = result::staged_bytes(groups, pixels);
    let larger = if ring > staged { ring } else { staged };
    larger + 2 * pixels * size_of::<Place>() + 1024
}

/// Where a pixel's patch begins: the number of its image's first pixel, and the row and
/// column of the first tap.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Place {
    first: u32,
    row: i16,
    column: i16,
}

/// Pixels of a tile between those of one producer thread.
const ROW_STEP: usize = GROUP_THREADS / 8;
/// Most pixels of a producer thread.
const ROWS_MAX: usize = 16;

/// A producer thread's place in `k`: a tap and eight channels. Moves on without a
/// division, which would cost more than the copies of a step.
#[derive(Clone, Copy)]
struct Cursor {
    row: u32,
    column: u32,
    eighth: u32,
}

impl Cursor {
    /// The place one step further.
    #[inline(always)]
    fn advance(&mut self, gather: &Gather) {
        if gather.is_sliced() {
            self.next_tap(gather);
            if self.row == gather.filter_height {
                (self.row, self.eighth) = (0, self.eighth + 8);
            }
            return;
        }
        self.eighth += 8;
        while self.eighth >= gather.channels / 8 {
            self.eighth -= gather.channels / 8;
            self.next_tap(gather);
        }
    }

    #[inline(always)]
    fn next_tap(&mut self, gather: &Gather) {
        self.column += 1;
        if self.column == gather.filter_width {
            (self.row, self.column) = (self.row + 1, 0);
        }
    }
}

/// A producer thread's pixels: row and column of the first tap, and the element there,
/// which counts from the input's first one and may lie before it.
struct Rows {
    row: [i32; ROWS_MAX],
    column: [i32; ROWS_MAX],
    first: [u32; ROWS_MAX],
}

/// The body of all tile shapes: `R` is half the pixels, the accumulator's registers.
#[inline(always)]
unsafe fn convolve<T: Half, const GROUPS: usize, const R: usize, const STAGES: usize>(
    shape: &Shape,
    operands: Operands<T>,
) {
    let mut full = shared!([Mbarrier; STAGES]);
    let mut empty = shared!([Mbarrier; STAGES]);
    let mut arrived = shared!([Mbarrier; 1]);
    // The producers, and the first of them once more for the bytes of weights.
    let full = full.init_mbarriers(|_| GROUP_THREADS as u32 + 1);
    let empty = empty.init_mbarriers(|_| GROUPS as u32);
    let arrived = arrived.init_mbarriers(|_| 1);
    // The first thread, which initialised them, also starts the copies that they count.
    fence_mbarrier_init();
    let (memory, _) = dynamic_shared::<u8>();
    let ring = memory.wrapping_add(memory.align_offset(1024));
    let received = ring.wrapping_add(shared_bytes(GROUPS, 2 * R, STAGES) - 1024);
    let places = received.wrapping_sub(2 * 2 * R * size_of::<Place>());
    let split = shape.split.max(1);
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
                staged: ring,
                row: tile_row,
            },
            received,
            arrived: &arrived[0],
            rank,
            split,
        },
        full,
        empty,
        ring,
        places: places.cast::<Place>(),
        first_pixel: tile_column * (2 * R) as u32,
        tile_row,
        steps: [steps * rank / split, steps * (rank + 1) / split],
    };
    job.ending.begin::<GROUPS, R>();
    allow_next_kernel();
    let group = thread_x() as usize / GROUP_THREADS;
    // SAFETY: each role does its part of the contract of the ring, written at `Job`.
    let ahead = unsafe {
        if group == 0 { job.produce::<GROUPS, R>() } else { job.consume::<GROUPS, R>(group - 1) }
    };
    // SAFETY: both roles are done.
    unsafe { job.ending.finish::<GROUPS, R>(ahead, |at| job.pixel(at)) };
}

/// One block's work. A stage belongs to the producers from the consumers' arrival at
/// `empty` until all have arrived at `full`; after the last step the ring is the
/// consumers', who may stage their result there.
struct Job<'a, T, const STAGES: usize> {
    shape: &'a Shape,
    operands: Operands<T>,
    ending: Ending<'a, T>,
    full: &'a [Mbarrier; STAGES],
    empty: &'a [Mbarrier; STAGES],
    ring: *mut u8,
    places: *mut Place,
    first_pixel: u32,
    tile_row: u32,
    /// First step and the one behind the last.
    steps: [u32; 2],
}

impl<T: Half, const STAGES: usize> Job<'_, T, STAGES> {
    /// The output's pixel that one of the tile is.
    #[inline(always)]
    fn pixel(&self, at: usize) -> Option<usize> {
        let pixel = self.first_pixel as usize + at;
        (pixel < self.shape.pixels as usize).then_some(pixel)
    }

    /// What this thread needs when its sums are there. The kernel before has ended.
    #[inline(always)]
    unsafe fn ahead<const GROUPS: usize, const R: usize>(&self) -> Ahead<T> {
        // SAFETY: the caller's contract.
        unsafe { self.ending.ahead::<GROUPS, R>(|at| self.pixel(at)) }
    }

    #[inline(always)]
    fn stage<const GROUPS: usize, const R: usize>(&self, stage: usize) -> *mut u8 {
        self.ring.wrapping_add(stage * (GROUPS * WEIGHT_BYTES + 2 * R * STEP * 2))
    }

    /// Notes for each pixel of the tile and each input where its patch begins.
    #[inline(always)]
    unsafe fn locate<const R: usize>(&self) {
        unroll::<2>(|input| {
            // SAFETY: the caller's contract.
            unsafe { self.locate_in::<R>(&self.shape.inputs[input], input * 2 * R) };
        });
    }

    /// The part of [`locate`](Self::locate) of one input, from `first` on in the table.
    #[inline(always)]
    unsafe fn locate_in<const R: usize>(&self, gather: &Gather, first: usize) {
        for at in (thread_x() as usize..2 * R).step_by(GROUP_THREADS) {
            let pixel = self.first_pixel + at as u32;
            // At least one, which spares the code for divisions by zero.
            let image_pixels = self.shape.image_pixels.max(1);
            let width = self.shape.width.max(1);
            let (image, within) = (pixel / image_pixels, pixel % image_pixels);
            let row = (within / width) as i32 * gather.stride[0] - gather.padding[0];
            let column = (within % width) as i32 * gather.stride[1] - gather.padding[1];
            let is_there = pixel < self.shape.pixels;
            let place = Place {
                first: image * (gather.size[0] * gather.size[1]) as u32,
                // A row that no tap gets from into the image.
                row: if is_there { row as i16 } else { i16::MIN },
                column: column as i16,
            };
            // SAFETY: the table has room for both inputs.
            unsafe { self.places.add(first + at).write(place) };
        }
    }

    /// Starts the copy of a step's weights.
    #[inline(always)]
    unsafe fn load_weights<const GROUPS: usize, const R: usize>(&self, step: u32) {
        let stage = ((step - self.steps[0]) % STAGES as u32) as usize;
        let barrier = &self.full[stage];
        let _ = barrier.arrive_expect_tx((GROUPS * WEIGHT_BYTES) as u32);
        let all = self.shape.inputs[0].steps + self.shape.inputs[1].steps;
        unroll::<GROUPS>(|group| {
            let block = (self.tile_row * GROUPS as u32 + group as u32) * all + step;
            let source = self.operands.weights.wrapping_add(block as usize * (WEIGHT_BYTES / 2));
            let target = self.stage::<GROUPS, R>(stage).wrapping_add(group * WEIGHT_BYTES);
            // SAFETY: the stage is the producers', and the packed weights have this piece.
            unsafe { bulk_copy_to_shared(target, source.cast(), WEIGHT_BYTES as u32, barrier) };
        });
    }

    /// Fills stages as they become empty.
    #[inline(always)]
    unsafe fn produce<const GROUPS: usize, const R: usize>(&self) -> Ahead<T> {
        let [begin, end] = self.steps;
        let ahead = (end - begin).min(STAGES as u32);
        if thread_x() == 0 {
            // Weights are constants: they need not wait for the kernel before.
            for step in begin..begin + ahead {
                // SAFETY: all stages are empty.
                unsafe { self.load_weights::<GROUPS, R>(step) };
            }
        }
        // SAFETY: nobody uses the table before the barrier.
        unsafe { self.locate::<R>() };
        NamedBarrier::<1>.sync(GROUP_THREADS as u32);
        // Indices that are no constants would move the parameters to local memory.
        let [first, second] = self.shape.inputs;
        let [first_source, second_source] = self.operands.inputs;
        let is_second = begin >= first.steps;
        let mut gather = if is_second { second } else { first };
        let mut source = if is_second { second_source } else { first_source };
        // SAFETY: the table is there since the barrier.
        let mut rows = unsafe { self.rows::<R>(usize::from(is_second)) };
        let mut cursor = self.cursor(begin);
        wait_for_previous_kernel();
        for step in begin..end {
            let turn = step - begin;
            if step == first.steps {
                (gather, source) = (second, second_source);
                // SAFETY: as above.
                rows = unsafe { self.rows::<R>(1) };
                cursor = self.cursor(step);
            }
            let stage = (turn % STAGES as u32) as usize;
            if turn >= STAGES as u32 {
                self.empty[stage].suspend_parity((turn / STAGES as u32 + 1) % 2);
                if thread_x() == 0 {
                    // SAFETY: the stage is empty.
                    unsafe { self.load_weights::<GROUPS, R>(step) };
                }
            }
            // SAFETY: the stage is empty.
            unsafe { self.gather::<GROUPS, R>(&rows, &gather, source, cursor, stage) };
            cursor.advance(&gather);
            // The arrival is made when the copies have arrived; nobody waits here.
            copy_async_arrive(&self.full[stage]);
        }
        // SAFETY: the kernel before has ended.
        unsafe { self.ahead::<GROUPS, R>() }
    }

    /// Reads where this thread's pixels of an input lie.
    #[inline(always)]
    unsafe fn rows<const R: usize>(&self, input: usize) -> Rows {
        let [first, second] = self.shape.inputs;
        let gather = if input == 0 { first } else { second };
        let places = self.places.wrapping_add(input * 2 * R + thread_x() as usize / 8);
        let mut rows = Rows { row: [0; ROWS_MAX], column: [0; ROWS_MAX], first: [0; ROWS_MAX] };
        unroll::<ROWS_MAX>(|i| {
            if i * ROW_STEP < 2 * R {
                // SAFETY: the table holds the tile's pixels.
                let place = unsafe { places.add(i * ROW_STEP).read() };
                let (row, column) = (i32::from(place.row), i32::from(place.column));
                rows.row[i] = row;
                rows.column[i] = column;
                let pixel = place.first.wrapping_add((row * gather.size[1] + column) as u32);
                rows.first[i] = pixel.wrapping_mul(gather.channels);
            }
        });
        rows
    }

    /// Where this thread's eight channels of a step lie.
    #[inline(always)]
    fn cursor(&self, step: u32) -> Cursor {
        let [first, second] = self.shape.inputs;
        let is_shortcut = step >= first.steps;
        let gather = if is_shortcut { second } else { first };
        let step = if is_shortcut { step - first.steps } else { step };
        let lane = thread_x() % 8;
        let (tap, eighth) = if gather.is_sliced() {
            let taps = gather.taps.max(1);
            (step % taps, step / taps * 8 + lane)
        } else {
            let (chunk, per_tap) = (step * 8 + lane, (gather.channels / 8).max(1));
            (chunk / per_tap, chunk % per_tap)
        };
        let width = gather.filter_width.max(1);
        let (row, column) = (tap / width, tap % width);
        Cursor { row, column, eighth }
    }

    /// Starts the copies of a step's pixels: eight neighbouring threads copy the 64
    /// elements of one pixel.
    #[inline(always)]
    unsafe fn gather<const GROUPS: usize, const R: usize>(
        &self,
        rows: &Rows,
        gather: &Gather,
        source: *const T,
        cursor: Cursor,
        stage: usize,
    ) {
        let (lane, first_row) = (thread_x() % 8, thread_x() as usize / 8);
        let down = cursor.row as i32 * gather.dilation[0];
        let right = cursor.column as i32 * gather.dilation[1];
        let shift = ((down * gather.size[1] + right) as u32).wrapping_mul(gather.channels);
        let shift = shift.wrapping_add(cursor.eighth * 8);
        // Behind the last tap there is nothing: no row is below none.
        let is_tap = cursor.row < gather.filter_height;
        let size = gather.size.map(|n| if is_tap { n as u32 } else { 0 });
        let column = (lane as usize ^ (first_row % 8)) * 16;
        let target = self
            .stage::<GROUPS, R>(stage)
            .wrapping_add(GROUPS * WEIGHT_BYTES + first_row * 128 + column);
        unroll::<ROWS_MAX>(|i| {
            if i * ROW_STEP < 2 * R {
                let (row, column) = (rows.row[i] + down, rows.column[i] + right);
                let is_inside = (row as u32) < size[0] && (column as u32) < size[1];
                let element = if is_inside { rows.first[i].wrapping_add(shift) } else { 0 };
                let bytes = if is_inside { 16 } else { 0 };
                let target = target.wrapping_add(i * ROW_STEP * 128).cast::<Eight<T>>();
                let source = source.wrapping_add(element as usize).cast();
                // SAFETY: the element lies in the image, or nothing is read.
                unsafe { copy_async_ca_or_zero(target, source, bytes) };
            }
        });
    }

    /// Multiplies what the stages hold and hands the sums over.
    #[inline(always)]
    unsafe fn consume<const GROUPS: usize, const R: usize>(&self, group: usize) -> Ahead<T> {
        let bias = self.ending.tile.bias::<GROUPS>(group);
        wait_for_previous_kernel();
        let mut ahead = Ahead::nothing();
        if result::holds_residuals(GROUPS, R) {
            // SAFETY: the kernel before has ended.
            ahead = unsafe { self.ahead::<GROUPS, R>() };
        }
        let mut acc = [0.0f32; R];
        let turns = self.steps[1] - self.steps[0];
        let is_first = (thread_x() as usize).is_multiple_of(GROUP_THREADS);
        let release = |turn: u32| {
            if is_first {
                let _ = self.empty[(turn % STAGES as u32) as usize].arrive();
            }
        };
        let layout = SharedLayout::dense(Swizzle::Span128);
        // SAFETY: the warpgroup's threads run this together; the stages are full.
        unsafe {
            wgmma_fence(&mut acc);
            for turn in 0..turns {
                let stage = (turn % STAGES as u32) as usize;
                self.full[stage].suspend_parity(turn / STAGES as u32 % 2);
                // Copies write by another path than the tensor cores read.
                fence_proxy_async_shared();
                let base = self.stage::<GROUPS, R>(stage);
                let weights =
                    MatrixDescriptor::new(base.wrapping_add(group * WEIGHT_BYTES), layout);
                let weights = Operand::<T, KMajor>::new(weights);
                let pixels =
                    MatrixDescriptor::new(base.wrapping_add(GROUPS * WEIGHT_BYTES), layout);
                let pixels = Operand::<T, KMajor>::new(pixels);
                wgmma_fence_running();
                for slice in 0..STEP as u32 / 16 {
                    wgmma(&mut acc, weights.advance(32 * slice), pixels.advance(32 * slice), true);
                }
                wgmma_commit();
                if turn > 0 {
                    wgmma_wait_running::<1>();
                    release(turn - 1);
                }
            }
            wgmma_wait::<0, _>(&mut acc);
        }
        // SAFETY: the ring is the consumers', and their threads come here together.
        unsafe {
            self.ending.hand_over::<GROUPS, R>(&mut acc, bias, group);
            if !result::holds_residuals(GROUPS, R) {
                ahead = self.ahead::<GROUPS, R>();
            }
        }
        ahead
    }
}
