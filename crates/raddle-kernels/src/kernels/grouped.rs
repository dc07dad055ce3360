//! Convolutions in groups of few channels, of images `[image, row, column, channel]`.
//!
//! ```text
//! out[pixel, c] = act(bias[c] + sum over taps t, k of x[pixel + t, of c's group, k] * w[t, k, c] + residual[pixel, c])
//! ```
//!
//! A thread has some neighbouring channels, moved as one, of a piece of `ROWS` by `COLUMNS`
//! pixels of the output. A block has pieces beside and above each other, so that the pixels
//! that their windows share come from L1, and all or some channels of them, so that a warp
//! reads long runs of memory. Weights lie `[tap, k, channel]`; sums are in `f32`.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

pub mod depthwise;
pub mod direct;

use raddle::device::hint::opaque;
use raddle::device::unroll::unrolled;
use raddle::prelude::*;

use super::conv::{Activation, clamp};

/// Most threads of a block.
pub const THREADS_MAX: u32 = 256;

/// A convolution in groups, and how its output is shared out.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Shape {
    /// Rows and columns of an image.
    pub size: [i32; 2],
    /// Rows and columns of the output.
    pub output: [u32; 2],
    /// From a pixel of the input, and of the output, to the next, in elements.
    pub pitches: [u32; 2],
    /// Rows and columns of the window.
    pub window: [u32; 2],
    /// Steps of the window.
    pub strides: [i32; 2],
    /// Distance of the window's elements.
    pub dilations: [i32; 2],
    /// Rows above the image and columns before it.
    pub begins: [i32; 2],
    /// Channels that a group reads.
    pub inputs: u32,
    /// Channels that a group makes.
    pub outputs: u32,
    /// Channels of the output that groups make; behind them are zeros.
    pub channels: u32,
    /// Vectors of channels of an output pixel, and those of a block.
    pub vectors: u32,
    /// See `vectors`.
    pub block_vectors: u32,
    /// Pieces of a block along rows and columns.
    pub pieces: [u32; 2],
    /// Blocks of an image along rows, columns and channels.
    pub blocks: [u32; 3],
    /// Whether there is a bias.
    pub has_bias: u32,
    /// Whether there is something to add.
    pub has_residual: u32,
    /// What is done to the sums.
    pub activation: Activation,
}

/// Memory of a convolution.
#[derive(Clone, Copy)]
struct Operands<T> {
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
}

/// A thread's part of the output.
#[derive(Clone, Copy)]
struct Piece {
    image: u32,
    /// First row and column.
    row: u32,
    column: u32,
    /// First channel.
    channel: u32,
}

/// Quotient and remainder; never panics.
#[inline(always)]
fn divided(x: u32, by: u32) -> [u32; 2] {
    let by = by.max(1);
    [x / by, x % by]
}

impl Shape {
    /// This thread's piece of so many rows, columns and channels, if there is one.
    #[inline(always)]
    fn piece(&self, [rows, columns, channels]: [u32; 3]) -> Option<Piece> {
        let [piece, vector] = divided(thread_x(), self.block_vectors);
        let [down, right] = divided(piece, self.pieces[1]);
        let [rest, block_vector] = divided(block_x(), self.blocks[2]);
        let [rest, block_column] = divided(rest, self.blocks[1]);
        let [image, block_row] = divided(rest, self.blocks[0]);
        let vector = block_vector * self.block_vectors + vector;
        let row = (block_row * self.pieces[0] + down) * rows;
        let column = (block_column * self.pieces[1] + right) * columns;
        let is_there = down < self.pieces[0]
            && vector < self.vectors
            && row < self.output[0]
            && column < self.output[1];
        is_there.then_some(Piece { image, row, column, channel: vector * channels })
    }

    /// A place along an axis, moved into the image, and whether it was there.
    #[inline(always)]
    fn place<const AXIS: usize>(&self, at: i32) -> (u32, bool) {
        let last = self.size[AXIS] - 1;
        (at.min(last).max(0) as u32, at >= 0 && at <= last)
    }
}

/// `N` elements that are moved as one and computed with in `f32`.
pub trait Lanes<const N: usize>: DeviceType {
    /// Waits for what writes the operands, where launches overlap.
    fn wait();
    /// Reads them, where the program says: what is made of them for some pixels only must
    /// not move the load behind a branch.
    ///
    /// # Safety
    ///
    /// They are there, and aligned as one.
    unsafe fn read(from: *const Self) -> [f32; N];
    /// Reads weights.
    ///
    /// # Safety
    ///
    /// As for reading.
    unsafe fn read_f32(from: *const f32) -> [f32; N];
    /// Writes them rounded.
    ///
    /// # Safety
    ///
    /// As for reading.
    unsafe fn write(to: *mut Self, numbers: [f32; N]);
}

macro_rules! lanes {
    ($($ty:ident $wait:expr),*) => { $(
        impl Lanes<4> for $ty {
            #[inline(always)]
            fn wait() {
                $wait
            }
            #[inline(always)]
            unsafe fn read(from: *const Self) -> [f32; 4] {
                // SAFETY: the caller's contract.
                let elements = opaque(unsafe { from.cast::<Vector<Self, 4>>().read() });
                unrolled(|k| elements[k].to_f32())
            }
            #[inline(always)]
            unsafe fn read_f32(from: *const f32) -> [f32; 4] {
                // SAFETY: the caller's contract.
                unsafe { from.cast::<F32x4>().read() }.to_array()
            }
            #[inline(always)]
            unsafe fn write(to: *mut Self, numbers: [f32; 4]) {
                let elements = Vector::<Self, 4>::new(unrolled(|k| Self::from_f32(numbers[k])));
                // SAFETY: the caller's contract.
                unsafe { to.cast::<Vector<Self, 4>>().write(elements) };
            }
        }

        impl Lanes<1> for $ty {
            #[inline(always)]
            fn wait() {
                $wait
            }
            #[inline(always)]
            unsafe fn read(from: *const Self) -> [f32; 1] {
                // SAFETY: the caller's contract.
                [unsafe { from.read() }.to_f32()]
            }
            #[inline(always)]
            unsafe fn read_f32(from: *const f32) -> [f32; 1] {
                // SAFETY: the caller's contract.
                [unsafe { from.read() }]
            }
            #[inline(always)]
            unsafe fn write(to: *mut Self, [number]: [f32; 1]) {
                // SAFETY: the caller's contract.
                unsafe { to.write(Self::from_f32(number)) };
            }
        }
    )* };
}
lanes!(f32(), f16 wait_for_previous_kernel(), bf16 wait_for_previous_kernel());

/// The biases of a piece's channels.
///
/// # Safety
///
/// They are there, if there is any.
#[inline(always)]
unsafe fn biases<T: Lanes<N>, const N: usize>(
    shape: &Shape,
    operands: &Operands<T>,
    piece: Piece,
) -> [f32; N] {
    match shape.has_bias {
        0 => [0.0; N],
        // SAFETY: the caller's contract.
        _ => unsafe { T::read_f32(operands.bias.wrapping_add(piece.channel as usize)) },
    }
}

/// Adds the residual to the sums of a piece and writes the function of them.
///
/// # Safety
///
/// The output, and the residual if there is one, have the piece's pixels.
#[inline(always)]
unsafe fn write<T: Lanes<N>, const N: usize, const ROWS: usize, const COLUMNS: usize>(
    shape: &Shape,
    operands: &Operands<T>,
    piece: Piece,
    mut sums: [[[f32; N]; COLUMNS]; ROWS],
) {
    const { assert!(ROWS <= 2 && COLUMNS <= 8) };
    // Each sum is wanted behind a branch only: here, so that it is not computed there.
    for sum in sums.as_flattened_mut().as_flattened_mut() {
        *sum = opaque(*sum);
    }
    macro_rules! pixels {
        ($(($row:literal $column:literal))*) => { $(
            if $row < ROWS && $column < COLUMNS {
                let (row, column) = (piece.row + $row, piece.column + $column);
                if row < shape.output[0] && column < shape.output[1] {
                    // SAFETY: the pixel is there.
                    unsafe { write_pixel(shape, operands, piece, [row, column], sums[$row][$column]) };
                }
            }
        )* };
    }
    pixels!((0 0) (0 1) (0 2) (0 3) (0 4) (0 5) (0 6) (0 7));
    pixels!((1 0) (1 1) (1 2) (1 3) (1 4) (1 5) (1 6) (1 7));
}

/// Writes a pixel.
///
/// # Safety
///
/// It is there, in the output and in the residual if there is one.
#[inline(always)]
unsafe fn write_pixel<T: Lanes<N>, const N: usize>(
    shape: &Shape,
    operands: &Operands<T>,
    piece: Piece,
    [row, column]: [u32; 2],
    mut sums: [f32; N],
) {
    let [height, width] = shape.output;
    let pixel = (piece.image * height + row) * width + column;
    let at = (pixel * shape.pitches[1] + piece.channel) as usize;
    if shape.has_residual != 0 {
        // SAFETY: the caller's contract.
        let more = unsafe { T::read(operands.residual.wrapping_add(at)) };
        for k in 0..N {
            sums[k] += more[k];
        }
    }
    match shape.activation.bounds() {
        Some([min, max]) => {
            for sum in &mut sums {
                *sum = clamp(*sum, min, max);
            }
        }
        None => {
            for sum in &mut sums {
                *sum = shape.activation.of(*sum);
            }
        }
    }
    // SAFETY: the caller's contract.
    unsafe { T::write(operands.out.wrapping_add(at), sums) };
}
