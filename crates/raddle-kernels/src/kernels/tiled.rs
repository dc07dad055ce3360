//! Products and convolutions of `f32` by tiles of 128 or 64 rows and 128 columns.
//!
//! ```text
//! out[batch, row, column] = act(sum over k of left[row, k] * right[k, column] + bias[row] + residual)
//! block = ((batch * row tiles + row tile) * column tiles + column tile) * split + part
//! ```
//!
//! `k` runs in steps of 16 through a ring of three stages in shared memory, which `cp.async`
//! fills element by element, so that operands may lie in any order and zeros stand for what
//! is not there. A warp computes 64×32 of the tile: with fused multiplications and additions
//! of `f32`, 8×8 sums to a thread ([`f32`]), or on tensor cores, which read their operands
//! rounded to 10 bits of mantissa ([`tf32`]).
//!
//! A convolution is the product of its weights and of the patches of its pixels, which
//! nobody writes down (implicit GEMM): rows are channels of the output, columns the pixels of
//! all images, `k` the channels of the input and the elements of the window. Where the
//! elements of a step lie from a patch's corner is worked out once for the block, three steps
//! ahead; each thread has the corner of its pixel.
//!
//! Where there are fewer tiles than the device holds blocks, `split` blocks share the depth
//! of one. Each leaves its sums in a copy of the output of its own, and [`combine`] adds them
//! up in their order.

mod arithmetic;
pub mod boxes;
mod ending;
mod operands;
pub mod turn;

use raddle::device::async_copy::{copy_async_commit, copy_async_wait};
use raddle::prelude::*;

use super::scalar::{Dims, View};

pub use arithmetic::Multiply;
use arithmetic::Sums;
use ending::Ending;
use operands::{Lines, Pixel, Shared, Tap};
pub use operands::{Steps, Window};

/// Columns of a tile.
pub const TILE_N: usize = 128;
/// Terms of a step.
pub const STEP: usize = 16;
/// Stages of the ring.
const STAGES: usize = 3;
/// Steps that the table of places has room for: one is read, one made, and between.
const TABLE_STEPS: usize = 4;
/// Numbers between rows of a stage behind its own, so that tensor cores' operands lie in
/// different banks.
const GAP: usize = 8;
const PITCH_N: usize = TILE_N + GAP;

/// Threads of a block with so many rows: a warp for each 64×32.
#[must_use]
pub const fn threads(tile_m: usize) -> u32 {
    (tile_m / 64 * (TILE_N / 32) * 32) as u32
}

/// Dynamic shared memory of a block with so many rows.
#[must_use]
pub const fn shared_bytes(tile_m: usize) -> usize {
    STAGES * stage_len(tile_m) * 4 + TABLE_STEPS * STEP * size_of::<Tap>()
}

const fn stage_len(tile_m: usize) -> usize {
    STEP * (tile_m + GAP + PITCH_N)
}

/// How a product is cut into tiles, and where its output lies.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Tiling {
    /// Rows of a matrix of the output.
    pub rows: u32,
    /// Columns of it: pixels of all images.
    pub columns: u32,
    /// Terms of a sum.
    pub depth: u32,
    /// Tiles that cover the rows.
    pub row_tiles: u32,
    /// Tiles that cover the columns.
    pub column_tiles: u32,
    /// Blocks that share a tile.
    pub split: u32,
    /// Terms that one of them adds up.
    pub part: u32,
    /// Matrices.
    pub batches: u32,
    /// Columns that lie together: the pixels of an image.
    pub pixels: u32,
    /// From an image to the next in the output.
    pub image_step: u32,
    /// Elements of the output.
    pub len: u32,
    /// Whether there is a bias for each row of all matrices.
    pub has_bias: u32,
    /// Whether there is a residual, which lies as the output does.
    pub has_residual: u32,
    /// Bounds of the results.
    pub min: f32,
    /// The upper one.
    pub max: f32,
}

/// What a block computes.
struct Place {
    batch: u32,
    row: u32,
    column: u32,
    part: u32,
    /// Terms.
    begin: u32,
    end: u32,
}

impl Tiling {
    #[inline(always)]
    fn place(&self, block: u32, tile_m: usize) -> Place {
        let [tile, part] = divided(block, self.split);
        let [rest, column] = divided(tile, self.column_tiles);
        let [batch, row] = divided(rest, self.row_tiles);
        let begin = part * self.part;
        let end = begin + self.part;
        Place {
            batch,
            row: row * tile_m as u32,
            column: column * TILE_N as u32,
            part,
            begin,
            end: if end < self.depth { end } else { self.depth },
        }
    }
}

/// Quotient and remainder; never panics, so that kernels have no such path.
#[inline(always)]
fn divided(x: u32, by: u32) -> [u32; 2] {
    let by = if by == 0 { 1 } else { by };
    [x / by, x % by]
}

/// Multiplies the operands that are fetched, step after step, and writes the tile.
///
/// # Safety
///
/// The block has the threads and the shared memory; the output has the tile's places.
#[inline(always)]
unsafe fn multiply<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    place: &Place,
    shared: Shared<TILE_M>,
    ending: Ending,
    prepare: impl Fn(u32),
    fetch: impl Fn(u32),
) {
    const AHEAD: u32 = STAGES as u32 - 1;
    let steps = (place.end - place.begin).div_ceil(STEP as u32);
    for step in 0..=AHEAD {
        prepare(step);
    }
    barrier();
    for step in 0..AHEAD {
        if step < steps {
            fetch(step);
        }
        copy_async_commit();
    }
    let (warp_m, warp_n) = (warp() as usize / 4, warp() as usize % 4);
    let mut sums: Sums = [[0.0; 8]; 8];
    for step in 0..steps {
        copy_async_wait::<{ STAGES as u32 - 2 }>();
        barrier();
        prepare(step + AHEAD + 1);
        if step + AHEAD < steps {
            fetch(step + AHEAD);
        }
        copy_async_commit();
        let stage = step % STAGES as u32;
        // SAFETY: the stage has arrived, and all lanes come here.
        unsafe {
            let left = shared.left(stage).wrapping_add(64 * warp_m);
            let right = shared.right(stage).wrapping_add(32 * warp_n);
            T::add::<TILE_M>(&mut sums, left, right);
        }
    }
    let first = [place.row + 64 * warp_m as u32, place.column + 32 * warp_n as u32];
    // SAFETY: the caller's contract.
    unsafe { ending::write::<T>(tiling, place, ending, first, &sums) };
}

/// Declares the kernels of a tile's height.
macro_rules! tile {
    ($product:ident, $convolve:ident: $tile_m:literal rows, $products:literal and $convolutions:literal blocks) => {
        /// Products of matrices, which lie as views along the batches say.
        ///
        /// # Safety
        ///
        /// The operands have all elements that the numbers reach; the launch has
        /// [`threads`] and [`shared_bytes`] of this height and a block for each part of
        /// each tile. `out` has [`Tiling::len`] elements for each part.
        #[kernel(block = threads($tile_m), min_blocks = $products, instances(f32, tf32))]
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $product<T: Multiply>(
            tiling: Tiling,
            batches: Dims,
            views: [View; 2],
            steps: Steps,
            left: *const f32,
            right: *const f32,
            bias: *const f32,
            residual: *const f32,
            out: *mut f32,
        ) {
            // SAFETY: the caller's contract.
            unsafe {
                let ending = Ending { bias, residual, out };
                product::<T, $tile_m>(&tiling, &batches, &views, &steps, [left, right], ending);
            }
        }

        /// Convolutions: a batch is a group.
        ///
        /// # Safety
        ///
        /// As for the product.
        #[kernel(block = threads($tile_m), min_blocks = $convolutions, instances(f32, tf32))]
        pub unsafe fn $convolve<T: Multiply>(
            tiling: Tiling,
            window: Window,
            input: *const f32,
            weights: *const f32,
            bias: *const f32,
            residual: *const f32,
            out: *mut f32,
        ) {
            // SAFETY: the caller's contract.
            unsafe {
                let ending = Ending { bias, residual, out };
                convolve::<T, $tile_m>(&tiling, &window, [input, weights], ending);
            }
        }
    };
}
// Products have operands in any order, which takes registers: fewer small blocks at a time.
tile!(product_64, convolve_64: 64 rows, 3 and 4 blocks);
tile!(product_128, convolve_128: 128 rows, 2 and 2 blocks);

#[inline(always)]
unsafe fn product<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    batches: &Dims,
    views: &[View; 2],
    steps: &Steps,
    [left, right]: [*const f32; 2],
    ending: Ending,
) {
    let place = tiling.place(block_x(), TILE_M);
    let shared = Shared::<TILE_M> { memory: dynamic_shared::<F32x4>().0.cast() };
    let at = |view: usize, tile: [u32; 2], strides: [i32; 2]| {
        let first = views[view].at(batches, place.batch) as i32;
        first + tile[0] as i32 * strides[0] + tile[1] as i32 * strides[1]
    };
    let first = at(0, [place.row, place.begin], steps.left);
    let left = left.wrapping_offset(first as isize);
    let first = at(1, [place.begin, place.column], steps.right);
    let right = right.wrapping_offset(first as isize);
    let left =
        Lines::<TILE_M, TILE_M>::new(left, steps.left, tiling.rows - place.row, steps.left[1] == 1);
    let strides = [steps.right[1], steps.right[0]];
    let right = Lines::<TILE_M, TILE_N>::new(
        right,
        strides,
        tiling.columns - place.column,
        strides[1] == 1,
    );
    let fetch = |step: u32| {
        let (stage, depth) = (step % STAGES as u32, place.end - place.begin - step * STEP as u32);
        // SAFETY: the caller's contract.
        unsafe {
            left.fetch(step, depth, shared.left(stage));
            right.fetch(step, depth, shared.right(stage));
        }
    };
    // SAFETY: the caller's contract.
    unsafe { multiply::<T, TILE_M>(tiling, &place, shared, ending, |_| (), fetch) };
}

#[inline(always)]
unsafe fn convolve<T: Multiply, const TILE_M: usize>(
    tiling: &Tiling,
    window: &Window,
    [input, weights]: [*const f32; 2],
    ending: Ending,
) {
    let place = tiling.place(block_x(), TILE_M);
    let shared = Shared::<TILE_M> { memory: dynamic_shared::<F32x4>().0.cast() };
    let filter = (place.batch * tiling.rows + place.row) * tiling.depth + place.begin;
    let weights = weights.wrapping_add(filter as usize);
    let strides = [tiling.depth as i32, 1];
    let weights = Lines::<TILE_M, TILE_M>::new(weights, strides, tiling.rows - place.row, true);
    let pixel = Pixel::new(tiling, window, &place, input);
    let prepare = |step: u32| {
        let thread = thread_x();
        if thread < STEP as u32 {
            let term = place.begin + step * STEP as u32 + thread;
            // SAFETY: nobody reads the table's entries of this step any more, or yet.
            unsafe { shared.tap(step, thread as usize).write(window.tap(term, place.end)) };
        }
    };
    let fetch = |step: u32| {
        let (stage, depth) = (step % STAGES as u32, place.end - place.begin - step * STEP as u32);
        // SAFETY: the caller's contract.
        unsafe {
            weights.fetch(step, depth, shared.left(stage));
            if TILE_M == 128 {
                pixel.fetch::<TILE_M, 8>(shared, step);
            } else {
                pixel.fetch::<TILE_M, 16>(shared, step);
            }
        }
    };
    // SAFETY: the caller's contract.
    unsafe { multiply::<T, TILE_M>(tiling, &place, shared, ending, prepare, fetch) };
}

/// Elements from the parts of their sums.
///
/// # Safety
///
/// `parts` has [`Tiling::len`] elements for each part, `out` as many; bias and residual have
/// theirs, if there are any.
#[kernel(block = 256)]
pub unsafe fn combine(
    tiling: Tiling,
    parts: *const f32,
    bias: *const f32,
    residual: *const f32,
    out: *mut f32,
) {
    let ending = Ending { bias, residual, out };
    let lines = tiling.batches * tiling.rows;
    let at = block_x() * 256 + thread_x();
    if at < tiling.len {
        let mut sum = 0.0;
        for part in 0..tiling.split as usize {
            // SAFETY: the caller's contract.
            sum += unsafe { parts.add(part * tiling.len as usize + at as usize).read() };
        }
        let line = divided(divided(at, tiling.pixels)[0], lines)[1];
        // SAFETY: the caller's contract.
        unsafe {
            let [result] = tiling.results([sum], tiling.bias(line, ending), at, ending);
            out.add(at as usize).write(result);
        }
    }
}
