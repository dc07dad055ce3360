//! Convolutions in groups of few channels, of images `[image, row, column, channel]`.
//!
//! ```text
//! out[pixel, c] = act(bias[c] + sum over taps t, k of x[pixel + t, of c's group, k] * w[t, k, c] + residual[pixel, c])
//! ```
//!
//! A thread has some neighbouring channels, moved as one, of a piece of some pixels of
//! a row of the output. A block has pieces beside and above each other, so that the pixels
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
    row: u32,
    /// First column.
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
    /// This thread's piece of so many columns and channels, if there is one.
    #[inline(always)]
    fn piece(&self, [columns, channels]: [u32; 2]) -> Option<Piece> {
        let [piece, vector] = divided(thread_x(), self.block_vectors);
        let [down, right] = divided(piece, self.pieces[1]);
        let [rest, block_vector] = divided(block_x(), self.blocks[2]);
        let [rest, block_column] = divided(rest, self.blocks[1]);
        let [image, block_row] = divided(rest, self.blocks[0]);
        let vector = block_vector * self.block_vectors + vector;
        let row = block_row * self.pieces[0] + down;
        let column = (block_column * self.pieces[1] + right) * columns;
        let is_there = down < self.pieces[0]
            && vector < self.vectors
            && row < self.output[0]
            && column < self.output[1];
        is_there.then_some(Piece { image, row, column, channel: vector * channels })
    }

    /// Pixels before a row of an image, which is in it.
    #[inline(always)]
    fn line(&self, image: u32, row: i32) -> u32 {
        (image * self.size[0] as u32 + row as u32) * self.size[1] as u32
    }

    /// Whether a place along an axis is in the image.
    #[inline(always)]
    fn is_inside<const AXIS: usize>(&self, at: i32) -> bool {
        (at as u32) < self.size[AXIS] as u32
    }
}

impl<T> Operands<T> {
    /// The zeros behind the weights: what pixels outside of the image are read from, so that
    /// nothing but the address waits for where they are.
    #[inline(always)]
    fn zeros(&self, shape: &Shape) -> *const T {
        let taps = (shape.window[0] * shape.window[1] * shape.inputs) as usize;
        self.weights.wrapping_add(taps * shape.pitches[1] as usize).cast()
    }
}

/// Zeros behind the weights, as many as channels of a thread.
pub const ZEROS: usize = 8;

/// `N` elements that are moved as one and computed with in `f32`.
pub trait Lanes<const N: usize>: DeviceType {
    /// The elements as they are moved.
    type Packed: Copy;
    /// Zeros.
    const ZEROS: Self::Packed;
    /// Waits for what writes the operands, where launches overlap.
    fn wait();
    /// Reads them.
    ///
    /// # Safety
    ///
    /// They are there, and aligned as one.
    unsafe fn read(from: *const Self) -> Self::Packed;
    /// Them as numbers.
    fn numbers(packed: Self::Packed) -> [f32; N];
    /// Reads weights.
    ///
    /// # Safety
    ///
    /// As for reading; aligned to 16 bytes if there are that many.
    unsafe fn read_f32(from: *const f32) -> [f32; N];
    /// Writes them rounded.
    ///
    /// # Safety
    ///
    /// As for reading.
    unsafe fn write(to: *mut Self, numbers: [f32; N]);
}

impl Lanes<4> for f32 {
    type Packed = F32x4;
    const ZEROS: F32x4 = F32x4::new([0.0; 4]);
    #[inline(always)]
    fn wait() {}
    #[inline(always)]
    unsafe fn read(from: *const Self) -> F32x4 {
        // SAFETY: the caller's contract.
        unsafe { from.cast::<F32x4>().read() }
    }
    #[inline(always)]
    fn numbers(packed: F32x4) -> [f32; 4] {
        packed.to_array()
    }
    #[inline(always)]
    unsafe fn read_f32(from: *const f32) -> [f32; 4] {
        // SAFETY: the caller's contract.
        unsafe { from.cast::<F32x4>().read() }.to_array()
    }
    #[inline(always)]
    unsafe fn write(to: *mut Self, numbers: [f32; 4]) {
        // SAFETY: the caller's contract.
        unsafe { to.cast::<F32x4>().write(F32x4::new(numbers)) };
    }
}

macro_rules! halves {
    ($($ty:ident $pair:ident $lanes:literal $words:literal),*) => { $(
        impl Lanes<$lanes> for $ty {
            type Packed = Vector<u32, $words>;
            const ZEROS: Self::Packed = Vector::new([0; $words]);
            #[inline(always)]
            fn wait() {
                wait_for_previous_kernel();
            }
            #[inline(always)]
            unsafe fn read(from: *const Self) -> Self::Packed {
                // SAFETY: the caller's contract.
                unsafe { from.cast::<Self::Packed>().read() }
            }
            #[inline(always)]
            fn numbers(packed: Self::Packed) -> [f32; $lanes] {
                let mut numbers = [0.0; $lanes];
                for k in 0..$words {
                    [numbers[2 * k], numbers[2 * k + 1]] = $pair::from_bits(packed[k]).to_f32s();
                }
                numbers
            }
            #[inline(always)]
            unsafe fn read_f32(from: *const f32) -> [f32; $lanes] {
                let mut numbers = [0.0; $lanes];
                for k in 0..$lanes / 4 {
                    // SAFETY: the caller's contract.
                    let four = unsafe { from.cast::<F32x4>().wrapping_add(k).read() };
                    for i in 0..4 {
                        numbers[4 * k + i] = four[i];
                    }
                }
                numbers
            }
            #[inline(always)]
            unsafe fn write(to: *mut Self, numbers: [f32; $lanes]) {
                let words = unrolled(|k| {
                    $pair::from_f32s(numbers[2 * k], numbers[2 * k + 1]).to_bits()
                });
                // SAFETY: the caller's contract.
                unsafe { to.cast::<Self::Packed>().write(Vector::new(words)) };
            }
        }
    )* };
}
halves!(f16 f16x2 4 2, f16 f16x2 8 4, bf16 bf16x2 4 2, bf16 bf16x2 8 4);

macro_rules! single {
    ($($ty:ident $wait:expr),*) => { $(
        impl Lanes<1> for $ty {
            type Packed = f32;
            const ZEROS: f32 = 0.0;
            #[inline(always)]
            fn wait() {
                $wait
            }
            #[inline(always)]
            unsafe fn read(from: *const Self) -> f32 {
                // SAFETY: the caller's contract.
                unsafe { from.read() }.to_f32()
            }
            #[inline(always)]
            fn numbers(packed: f32) -> [f32; 1] {
                [packed]
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
single!(f32(), f16 wait_for_previous_kernel(), bf16 wait_for_previous_kernel());

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
unsafe fn write<T: Lanes<N>, const N: usize, const COLUMNS: usize>(
    shape: &Shape,
    operands: &Operands<T>,
    piece: Piece,
    mut sums: [[f32; N]; COLUMNS],
) {
    const { assert!(COLUMNS <= 8) };
    // Each sum is wanted behind a branch only: here, so that it is not computed there.
    for sum in sums.as_flattened_mut() {
        *sum = opaque(*sum);
    }
    let Some([min, max]) = shape.activation.bounds() else {
        // Pixels take turns at the first place, so that there is one copy of the functions.
        for at in 0..opaque(COLUMNS as u32) {
            let column = piece.column + at;
            if column < shape.output[1] {
                let of = |x| shape.activation.of(x);
                // SAFETY: the pixel is there.
                unsafe { write_pixel(shape, operands, piece, column, sums[0], of) };
            }
            for k in 1..COLUMNS {
                sums[k - 1] = sums[k];
            }
        }
        return;
    };
    macro_rules! pixels {
        ($($at:literal)*) => { $(
            let column = piece.column + $at;
            if $at < COLUMNS && column < shape.output[1] {
                let of = |x| clamp(x, min, max);
                // SAFETY: the pixel is there.
                unsafe { write_pixel(shape, operands, piece, column, sums[$at], of) };
            }
        )* };
    }
    pixels!(0 1 2 3 4 5 6 7);
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
    column: u32,
    mut sums: [f32; N],
    function: impl Fn(f32) -> f32,
) {
    let [height, width] = shape.output;
    let pixel = (piece.image * height + piece.row) * width + column;
    let at = (pixel * shape.pitches[1] + piece.channel) as usize;
    if shape.has_residual != 0 {
        // SAFETY: the caller's contract.
        let more = T::numbers(unsafe { T::read(operands.residual.wrapping_add(at)) });
        for k in 0..N {
            sums[k] += more[k];
        }
    }
    for sum in &mut sums {
        *sum = function(*sum);
    }
    // SAFETY: the caller's contract.
    unsafe { T::write(operands.out.wrapping_add(at), sums) };
}
