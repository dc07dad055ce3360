//! Products and convolutions of `f32` by tiles of 64x64 in shared memory, 4x4 sums in
//! the registers of a thread.
//!
//! ```text
//! block  = ((batch * row tiles + row tile) * column tiles + column tile) * split + part
//! chunk of a thread = 16 sums: rows r, r + 16, r + 32, r + 48 by 4 neighbouring columns
//! ```
//!
//! Where there are fewer tiles than the device holds blocks, `split` blocks share the
//! depth of one. Each thread leaves its sums as they are in a chunk of its own, so the
//! kernels are safe code; [`combine`] adds the parts up in their order, adds the bias and
//! puts elements where they belong.

use raddle::prelude::*;

use super::scalar::{Dims, View, word};

/// Edge of a tile.
pub const TILE: u32 = 64;
/// Depth of the tiles that are multiplied at a time.
pub const STEP: u32 = 16;
/// Threads of a block.
pub const THREADS: u32 = 256;
/// Sums of a thread.
pub const SUMS: usize = 16;

/// How a product is cut into tiles.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Tiling {
    /// Rows of a matrix of the output.
    pub rows: u32,
    /// Columns.
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
}

/// What a block computes.
struct Place {
    batch: u32,
    row: u32,
    column: u32,
    /// Terms.
    begin: u32,
    end: u32,
}

impl Tiling {
    #[inline(always)]
    fn place(&self, block: u32) -> Place {
        let (part, tile) = (block % self.split, block / self.split);
        let (column, rest) = (tile % self.column_tiles, tile / self.column_tiles);
        let begin = part * self.part;
        let end = begin + self.part;
        Place {
            batch: rest / self.row_tiles,
            row: rest % self.row_tiles * TILE,
            column: column * TILE,
            begin,
            end: if end < self.depth { end } else { self.depth },
        }
    }
}

/// Strides of the operands of a product, in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Steps {
    /// From a row of the left matrix to the next, and from a column.
    pub left: [i32; 2],
    /// From a row of the right matrix to the next, and from a column.
    pub right: [i32; 2],
}

/// Products of matrices, which lie as views along the batches say.
#[kernel(block = 256, min_blocks = 2)]
pub fn product_tiled(
    tiling: Tiling,
    batches: Dims,
    views: [View; 2],
    steps: Steps,
    left: &[f32],
    right: &[f32],
    out: PerThreadChunks<f32, 16>,
) {
    let place = tiling.place(block_x());
    let thread = thread_x();
    let row = place.row + thread / 4;
    let first = views[0].at(&batches, place.batch) as i32 + row as i32 * steps.left[0];
    let second = views[1].at(&batches, place.batch) as i32;
    let column = place.column + thread % 16 * 4;
    let fetch_left = |k: u32| -> [f32; 4] {
        core::array::from_fn(|i| {
            let k = k + thread % 4 * 4 + i as u32;
            let at = first + k as i32 * steps.left[1];
            if row < tiling.rows && k < place.end { element(left, at) } else { 0.0 }
        })
    };
    let fetch_right = |k: u32| -> [f32; 4] {
        core::array::from_fn(|i| {
            let (k, column) = (k + thread / 16, column + i as u32);
            let at = second + k as i32 * steps.right[0] + column as i32 * steps.right[1];
            if column < tiling.columns && k < place.end { element(right, at) } else { 0.0 }
        })
    };
    multiply(&place, fetch_left, fetch_right, out);
}

/// A window that slides over rows and columns.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Window {
    /// Rows and columns of the input.
    pub input: [u32; 2],
    /// Columns of the output.
    pub width: u32,
    /// Rows and columns of the window.
    pub window: [u32; 2],
    /// Steps of the window.
    pub strides: [u32; 2],
    /// Distance of the window's elements.
    pub dilations: [u32; 2],
    /// Rows and columns before the input.
    pub begins: [i32; 2],
    /// Channels that a group reads.
    pub channels: u32,
    /// Groups.
    pub groups: u32,
}

/// Convolutions: a batch is a group of an image, a row a channel of the output, a column
/// a pixel, and the depth goes over the group's channels and the window's elements.
#[kernel(block = 256, min_blocks = 2)]
pub fn convolve_tiled(
    tiling: Tiling,
    window: Window,
    input: &[f32],
    weights: &[f32],
    out: PerThreadChunks<f32, 16>,
) {
    let place = tiling.place(block_x());
    let thread = thread_x();
    let row = place.row + thread / 4;
    let group = place.batch % window.groups;
    let filter = ((group * tiling.rows + row) * tiling.depth) as i32;
    let fetch_weights = |k: u32| -> [f32; 4] {
        core::array::from_fn(|i| {
            let k = k + thread % 4 * 4 + i as u32;
            if row < tiling.rows && k < place.end {
                element(weights, filter + k as i32)
            } else {
                0.0
            }
        })
    };
    // Four pixels of a thread: the input's row and column under the window's first
    // element, a row that is never within the input for pixels that there are not.
    let corners: [[i32; 2]; 4] = core::array::from_fn(|i| {
        let pixel = place.column + thread % 16 * 4 + i as u32;
        let (y, x) = (pixel / window.width, pixel % window.width);
        let is_there = pixel < tiling.columns;
        let y = (y * window.strides[0]) as i32 - window.begins[0];
        let x = (x * window.strides[1]) as i32 - window.begins[1];
        [if is_there { y } else { i32::MIN / 2 }, x]
    });
    let taps = window.window[0] * window.window[1];
    let [height, width] = window.input;
    let fetch_pixels = |k: u32| -> [f32; 4] {
        let k = k + thread / 16;
        let (channel, tap) = (k / taps, k % taps);
        let down = (tap / window.window[1] * window.dilations[0]) as i32;
        let along = (tap % window.window[1] * window.dilations[1]) as i32;
        let plane = place.batch * window.channels + channel;
        core::array::from_fn(|i| {
            let (y, x) = (corners[i][0] + down, corners[i][1] + along);
            // A negative number is a large one.
            let is_inside = (y as u32) < height && (x as u32) < width && k < place.end;
            let at = (plane * height) as i32 + y;
            if is_inside { element(input, at * width as i32 + x) } else { 0.0 }
        })
    };
    multiply(&place, fetch_weights, fetch_pixels, out);
}

/// An element that the host's checks say is there.
#[inline(always)]
fn element(elements: &[f32], at: i32) -> f32 {
    elements.get(at as usize).copied().unwrap_or(0.0)
}

/// Multiplies what is fetched of a tile's operands and leaves the sums in the thread's
/// chunk. A thread fetches four neighbours of a row of the left operand and of the right
/// one, the next ones while it computes.
#[inline(always)]
fn multiply(
    place: &Place,
    fetch_left: impl Fn(u32) -> [f32; 4],
    fetch_right: impl Fn(u32) -> [f32; 4],
    mut out: PerThreadChunks<f32, 16>,
) {
    // left: [row, depth in fours], right: [depth, column in fours]
    let mut left_tile = shared!([F32x4; 256]);
    let mut right_tile = shared!([F32x4; 256]);
    let thread = thread_x() as usize;
    let (row, column) = (thread / 16, thread % 16);
    let mut sums = [F32x4::splat(0.0); 4];
    // By name, since a vector that is replaced under a condition would lie in memory.
    let [mut a0, mut a1, mut a2, mut a3] = fetch_left(place.begin);
    let [mut b0, mut b1, mut b2, mut b3] = fetch_right(place.begin);
    let mut k = place.begin;
    while k < place.end {
        let (left_tile, right_tile) = left_tile.fill_both(
            move |_| F32x4::new([a0, a1, a2, a3]),
            &mut right_tile,
            move |_| F32x4::new([b0, b1, b2, b3]),
        );
        k += STEP;
        if k < place.end {
            [a0, a1, a2, a3] = fetch_left(k);
            [b0, b1, b2, b3] = fetch_right(k);
        }
        for four in 0..4 {
            let left: [F32x4; 4] = core::array::from_fn(|i| left_tile[(row + 16 * i) * 4 + four]);
            for j in 0..4 {
                let right = right_tile[(4 * four + j) * 16 + column];
                for i in 0..4 {
                    sums[i] = right.zip_with(sums[i], |b, sum| left[i][j].mul_add(b, sum));
                }
            }
        }
    }
    if let Some((_, chunk)) = out.mine() {
        // By constant indices, since arrays in registers have no others.
        unroll::<4>(|i| {
            let four = sums[i].to_array();
            unroll::<4>(|j| chunk[4 * i + j] = four[j]);
        });
    }
}

/// Elements from the parts of their sums.
#[kernel(block = 256)]
pub fn combine(
    tiling: Tiling,
    groups: u32,
    has_bias: u32,
    parts: &[f32],
    bias: &[f32],
    mut out: PerThread<u64>,
) {
    let len = tiling.batches * tiling.rows * tiling.columns;
    for (index, out) in out.iter_mut() {
        *out = word(index, 2, len, |at| {
            let (line, column) = (at / tiling.columns, at % tiling.columns);
            let (batch, row) = (line / tiling.rows, line % tiling.rows);
            let tile = (batch * tiling.row_tiles + row / TILE) * tiling.column_tiles;
            let tile = (tile + column / TILE) * tiling.split;
            let (row_in, column_in) = (row % TILE, column % TILE);
            let thread = row_in % 16 * 16 + column_in / 4;
            let slot = row_in / 16 * 4 + column_in % 4;
            let mut sum = match has_bias {
                0 => 0.0,
                _ => element(bias, (batch % groups * tiling.rows + row) as i32),
            };
            for part in 0..tiling.split {
                sum += element(parts, (((tile + part) * THREADS + thread) * 16 + slot) as i32);
            }
            u64::from(sum.to_bits())
        });
    }
}
