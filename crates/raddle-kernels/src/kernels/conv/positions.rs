//! Pixels of images numbered with the zeros between them, as the kernels that shift pixels
//! number them, and the copies of such pixels to shared memory.
//!
//! A position's number is `(image * rows + row) * pitch + column`, where rows and columns
//! begin with the zeros before the image. The last column of a row and the last row of an
//! image take their zeros from the next ones.

use raddle::prelude::*;

use super::{Eight, GROUP_THREADS, Half, STEP, Shape};

/// Threads that copy pixels: all of a warpgroup but its first warp.
pub const COPIERS: usize = GROUP_THREADS - 32;
/// A position without a pixel, in tables of pixels.
pub const NOWHERE: u32 = u32::MAX;
/// Copies of a thread whose places are read together.
const TOGETHER: usize = 4;

/// How the positions of a convolution are numbered.
#[derive(Clone, Copy)]
pub struct Positions {
    /// Rows and columns of an image.
    size: [i32; 2],
    /// Zeros before rows and columns.
    padding: [i32; 2],
    /// Positions from a row to the next.
    pub pitch: u32,
    /// Rows of an image with the zeros before it.
    image_rows: u32,
    images: u32,
    /// Positions around a tile that lie before it, and as many behind it.
    pub before: u32,
}

/// Where a position lies.
#[derive(Clone, Copy)]
pub struct Spot {
    pub image: i32,
    pub row: i32,
    pub column: i32,
    /// Whether it has a pixel.
    pub is_there: bool,
}

impl Positions {
    /// Those of a shape's first input.
    #[inline(always)]
    pub fn new(shape: &Shape) -> Self {
        let [first, _] = shape.inputs;
        let pitch = ((first.size[1] + first.padding[1]) as u32).max(1);
        Self {
            size: first.size,
            padding: first.padding,
            pitch,
            image_rows: ((first.size[0] + first.padding[0]) as u32).max(1),
            images: shape.pixels / shape.image_pixels.max(1),
            before: first.padding[0] as u32 * pitch + first.padding[1] as u32,
        }
    }

    /// All positions.
    #[inline(always)]
    pub fn count(&self) -> u32 {
        self.images * self.image_rows * self.pitch
    }

    /// Positions of a tile with those around.
    #[inline(always)]
    pub fn around(&self, positions: usize) -> usize {
        positions + 2 * self.before as usize
    }

    /// Where a position lies. One before the first wraps to images that there are not.
    #[inline(always)]
    pub fn spot(&self, position: u32) -> Spot {
        let (line, column) = (position / self.pitch, position % self.pitch);
        let (image, row) = (line / self.image_rows, line % self.image_rows);
        let row = row as i32 - self.padding[0];
        let column = column as i32 - self.padding[1];
        let is_there = image < self.images && row >= 0 && column >= 0;
        Spot { image: image as i32, row, column, is_there }
    }

    /// The number of a place's pixel among those of all images.
    #[inline(always)]
    pub fn pixel(&self, spot: &Spot) -> u32 {
        let pixel = (spot.image * self.size[0] + spot.row) * self.size[1] + spot.column;
        if spot.is_there { pixel as u32 } else { NOWHERE }
    }
}

/// The pixel of the output that a position of a tile is; `table` begins with the tile's own.
///
/// # Safety
///
/// The table has the position.
#[inline(always)]
pub unsafe fn pixel_in(table: *const u32, at: usize) -> Option<usize> {
    // SAFETY: the caller's contract.
    let pixel = unsafe { table.add(at).read() };
    (pixel != NOWHERE).then_some(pixel as usize)
}

/// Starts the copies of 64 channels of the pixels in a table, a row of 128 bytes for each,
/// swizzled as the tensor cores read them: zeros where there is none. The copiers call it
/// together.
///
/// # Safety
///
/// The table has `rows` numbers, `source` points to the first of the 64 channels in images
/// with those pixels and `channels` channels, and nobody uses the patch.
#[inline(always)]
pub unsafe fn copy_rows<T: Half>(
    table: *const u32,
    rows: usize,
    source: *const T,
    channels: u32,
    patch: *mut u8,
) {
    const STRIDE: usize = COPIERS / 8;
    let copier = thread_x() as usize - 32;
    let (lane, first_row) = (copier % 8, copier / 8);
    let source = source.wrapping_add(lane * 8);
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
            let element = if is_there { pixel as usize * channels as usize } else { 0 };
            let target = patch.wrapping_add(row * STEP * 2 + (lane ^ (row % 8)) * 16);
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
