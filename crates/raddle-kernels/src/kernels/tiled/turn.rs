//! Matrices with rows and columns exchanged, channels last from channels first and back, and
//! windows of few channels side by side.

use raddle::device::unroll::unrolled;
use raddle::prelude::*;

use super::divided;

/// Rows and columns that a block moves.
pub const SIDE: usize = 32;
/// Threads of a block.
pub const THREADS: u32 = 256;
/// Rows that they move at once.
const AT_ONCE: usize = THREADS as usize / SIDE;

/// `out[batch, column, row]` from `input[batch, row, column]`, whose rows are `pitch` apart;
/// `size` is rows and columns. Block `(batch * row tiles + row tile) * column tiles + column
/// tile` moves 32×32.
///
/// # Safety
///
/// Both have the elements of all matrices, and the launch a block for each part of them.
#[kernel(block = THREADS)]
pub unsafe fn turn(size: [u32; 2], pitch: u32, input: *const f32, out: *mut f32) {
    let [rows, columns] = size;
    let tile = shared!([[f32; SIDE + 1]; SIDE]);
    let [rest, tile_column] = divided(block_x(), columns.div_ceil(SIDE as u32));
    let [batch, tile_row] = divided(rest, rows.div_ceil(SIDE as u32));
    let (first_row, first_column) = (tile_row * SIDE as u32, tile_column * SIDE as u32);
    let (line, place) = (thread_x() / SIDE as u32, thread_x() % SIDE as u32);
    let lines = batch as usize * rows as usize;
    let tile = tile.as_ptr();
    for i in 0..SIDE / AT_ONCE {
        let line = line + (i * AT_ONCE) as u32;
        let (row, column) = (first_row + line, first_column + place);
        if row < rows && column < columns {
            let at = (lines + row as usize) * pitch as usize + column as usize;
            // SAFETY: the caller's contract; this thread alone has the tile's place.
            unsafe {
                (&raw mut (*tile)[line as usize][place as usize]).write(input.add(at).read())
            };
        }
    }
    barrier();
    for i in 0..SIDE / AT_ONCE {
        let line = line + (i * AT_ONCE) as u32;
        let (row, column) = (first_row + place, first_column + line);
        if row < rows && column < columns {
            let at = lines * columns as usize + column as usize * rows as usize + row as usize;
            // SAFETY: the caller's contract; the place was written before the barrier.
            unsafe {
                out.add(at).write((&raw const (*tile)[place as usize][line as usize]).read())
            };
        }
    }
}

/// Images of few channels whose columns are to be the windows of a convolution along them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Wide {
    /// Rows of all images.
    pub lines: u32,
    /// Rows and columns of an image.
    pub size: [u32; 2],
    /// Channels, at most four.
    pub channels: u32,
    /// Windows along a row.
    pub windows: u32,
    /// From a window to the next, and from one of its columns to the next.
    pub steps: [u32; 2],
    /// Columns before the image.
    pub begin: i32,
    /// Columns of a window, at most eight.
    pub width: u32,
}

/// `out[image, row, window, column, channel]`, 8 columns of 4 channels with zeros for those
/// that are not there, from `input[image, channel, row, column]`: four channels to a thread.
#[kernel(block = THREADS)]
pub fn widen(wide: Wide, input: &[f32], mut out: PerThreadChunks<f32, 4>) {
    for (index, out) in out.iter_mut() {
        let [rest, at] = divided(index as u32, WIDE as u32);
        let [line, window] = divided(rest, wide.windows);
        let [image, row] = divided(line, wide.size[0]);
        let column = (window * wide.steps[0] + at * wide.steps[1]) as i32 - wide.begin;
        let is_there = at < wide.width && column >= 0 && column < wide.size[1] as i32;
        *out = unrolled(|channel| {
            if !is_there || channel as u32 >= wide.channels {
                return 0.0;
            }
            let plane = image * wide.channels + channel as u32;
            input[((plane * wide.size[0] + row) * wide.size[1]) as usize + column as usize]
        });
    }
}

/// Columns that [`widen`] makes one row of.
pub const WIDE: usize = 8;
