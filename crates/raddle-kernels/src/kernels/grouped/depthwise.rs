//! One filter for each channel: limited by memory, if pixels that windows share are read
//! once.
//!
//! The common windows are unrolled: a thread goes through the pixels of the input under its
//! piece, and each goes into all sums whose windows it is in. Pixels outside of the image
//! are read inside and taken for zeros, so that reads wait for no branches. What is unrolled
//! is decided by constants, which leave nothing for the optimiser to throw away.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::prelude::*;

use super::{Lanes, Operands, Shape, THREADS_MAX, biases, write};

/// Rows of a piece: two, if the weights of that many rows of windows fit in registers.
#[must_use]
pub const fn rows(side: usize, step: usize) -> usize {
    if side > 3 && step > 1 { 1 } else { 2 }
}

/// Columns of a piece.
pub const COLUMNS: usize = 4;
/// Columns of a piece for any window; rows are one.
pub const COLUMNS_ANY: usize = 4;

/// Adds `weight * x` to sums.
#[inline(always)]
pub(super) fn add<const N: usize>(sums: &mut [f32; N], weight: [f32; N], x: [f32; N]) {
    for k in 0..N {
        sums[k] = weight[k].mul_add(x[k], sums[k]);
    }
}

/// A piece under square windows of `SIDE` in steps of `STEP`.
#[derive(Clone, Copy)]
struct Under<'a, T, const N: usize, const SIDE: usize, const STEP: usize> {
    shape: &'a Shape,
    operands: Operands<T>,
    image: u32,
    channel: u32,
    /// Row and column of the first pixel under it.
    first: [i32; 2],
}

/// Whether a place is under a window of a side that begins at another.
const fn is_under(at: usize, begin: usize, side: usize) -> bool {
    at >= begin && at < begin + side
}

type Sums<const N: usize, const ROWS: usize> = [[[f32; N]; COLUMNS]; ROWS];

impl<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>
    Under<'_, T, N, SIDE, STEP>
{
    /// Adds the pixels of a row to all sums whose windows they are in.
    ///
    /// # Safety
    ///
    /// As for [`square`].
    #[inline(always)]
    unsafe fn add_row<const ROWS: usize, const Y: usize>(&self, sums: &mut Sums<N, ROWS>) {
        let size = self.shape.size;
        let (row, is_row) = self.shape.place::<0>(self.first[0] + Y as i32);
        let line = (self.image * size[0] as u32 + row) * size[1] as u32;
        let line = line * self.shape.pitches[0] + self.channel;
        macro_rules! pixels {
            ($($x:literal)*) => { $(
                if const { $x < (COLUMNS - 1) * STEP + SIDE } {
                    // SAFETY: the caller's contract.
                    unsafe { self.add_pixel::<ROWS, Y, $x>(line, is_row, sums) };
                }
            )* };
        }
        pixels!(0 1 2 3 4 5 6 7 8 9 10);
    }

    /// Adds a pixel of a line.
    ///
    /// # Safety
    ///
    /// As for [`square`].
    #[inline(always)]
    unsafe fn add_pixel<const ROWS: usize, const Y: usize, const X: usize>(
        &self,
        line: u32,
        is_row: bool,
        sums: &mut Sums<N, ROWS>,
    ) {
        let (column, is_column) = self.shape.place::<1>(self.first[1] + X as i32);
        let at = line + column * self.shape.pitches[0];
        let from = self.operands.input.wrapping_add(at as usize);
        // SAFETY: the place is in the image.
        let mut element = unsafe { T::read(from) };
        for element in &mut element {
            *element = if is_row && is_column { *element } else { 0.0 };
        }
        macro_rules! sums {
            ($(($r:literal $c:literal))*) => { $(
                if const { $r < ROWS && is_under(Y, $r * STEP, SIDE) && is_under(X, $c * STEP, SIDE) } {
                    let (i, j) = (Y - $r * STEP, X - $c * STEP);
                    let at = (i * SIDE + j) as u32 * self.shape.pitches[1] + self.channel;
                    // SAFETY: the caller's contract.
                    let weight = unsafe { T::read_f32(self.operands.weights.wrapping_add(at as usize)) };
                    add(&mut sums[$r][$c], weight, element);
                }
            )* };
        }
        sums!((0 0) (0 1) (0 2) (0 3) (1 0) (1 1) (1 2) (1 3));
    }
}

/// Square windows of `SIDE` in steps of `STEP`.
///
/// # Safety
///
/// As for [`square`].
#[inline(always)]
unsafe fn convolve<
    T: Lanes<N>,
    const N: usize,
    const SIDE: usize,
    const STEP: usize,
    const ROWS: usize,
>(
    shape: &Shape,
    operands: Operands<T>,
) {
    const { assert!((ROWS - 1) * STEP + SIDE <= 8 && (COLUMNS - 1) * STEP + SIDE <= 11) };
    let Some(piece) = shape.piece([ROWS as u32, COLUMNS as u32, N as u32]) else { return };
    // SAFETY: the caller's contract.
    let bias = unsafe { biases(shape, &operands, piece) };
    let mut sums = [[bias; COLUMNS]; ROWS];
    let step = STEP as i32;
    let first =
        [piece.row as i32 * step - shape.begins[0], piece.column as i32 * step - shape.begins[1]];
    let (image, channel) = (piece.image, piece.channel);
    let under = Under::<T, N, SIDE, STEP> { shape, operands, image, channel, first };
    T::wait();
    macro_rules! rows {
        ($($y:literal)*) => { $(
            if const { $y < (ROWS - 1) * STEP + SIDE } {
                // SAFETY: the caller's contract.
                unsafe { under.add_row::<ROWS, $y>(&mut sums) };
            }
        )* };
    }
    rows!(0 1 2 3 4 5 6 7);
    // SAFETY: the caller's contract.
    unsafe { write(shape, &operands, piece, sums) };
}

/// Any window.
///
/// # Safety
///
/// As for [`convolve`].
#[inline(always)]
unsafe fn convolve_any<T: Lanes<N>, const N: usize>(shape: &Shape, operands: Operands<T>) {
    let Some(piece) = shape.piece([1, COLUMNS_ANY as u32, N as u32]) else { return };
    let channel = piece.channel as usize;
    // SAFETY: the caller's contract.
    let bias = unsafe { biases(shape, &operands, piece) };
    let top = piece.row as i32 * shape.strides[0] - shape.begins[0];
    let left = piece.column as i32 * shape.strides[1] - shape.begins[1];
    let pitch = shape.pitches[0] as usize;
    let mut sums = [[bias; COLUMNS_ANY]];
    T::wait();
    for i in 0..shape.window[0] {
        let (row, is_row) = shape.place::<0>(top + i as i32 * shape.dilations[0]);
        if !is_row {
            continue;
        }
        let line = (piece.image * shape.size[0] as u32 + row) * shape.size[1] as u32;
        let line = operands.input.wrapping_add(line as usize * pitch + channel);
        for j in 0..shape.window[1] {
            let at = (i * shape.window[1] + j) as usize * shape.pitches[1] as usize + channel;
            // SAFETY: the caller's contract.
            let weight = unsafe { T::read_f32(operands.weights.add(at)) };
            for c in 0..COLUMNS_ANY {
                let x = left + c as i32 * shape.strides[1] + j as i32 * shape.dilations[1];
                let (column, is_column) = shape.place::<1>(x);
                // SAFETY: the place is in the image.
                let mut element = unsafe { T::read(line.wrapping_add(column as usize * pitch)) };
                for element in &mut element {
                    *element = if is_column { *element } else { 0.0 };
                }
                add(&mut sums[0][c], weight, element);
            }
        }
    }
    // SAFETY: the caller's contract.
    unsafe { write(shape, &operands, piece, sums) };
}

/// Square windows in `f32`.
///
/// # Safety
///
/// `shape` describes what lies at the pointers: an input with all pixels, weights for all
/// taps, biases and a residual if it says so. Vectors of channels are aligned, pitches are
/// whole vectors and equal. The launch has the shape's blocks, with a thread for each vector
/// of each piece.
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, instances(
    (f32, 4, 3, 1, 2), (f32, 4, 3, 2, 2), (f32, 4, 5, 1, 2), (f32, 4, 5, 2, 1),
    (f32, 4, 7, 1, 2), (f32, 1, 3, 1, 2), (f32, 1, 3, 2, 2)))]
pub unsafe fn square<
    T: Lanes<N>,
    const N: usize,
    const SIDE: usize,
    const STEP: usize,
    const ROWS: usize,
>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve::<T, N, SIDE, STEP, ROWS>(&shape, operands) };
}

/// Square windows in 16 bits.
///
/// # Safety
///
/// As for [`square`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, arch = 90, instances(
    (f16, 4, 3, 1, 2), (f16, 4, 3, 2, 2), (f16, 4, 5, 1, 2), (f16, 4, 5, 2, 1),
    (f16, 4, 7, 1, 2), (bf16, 4, 3, 1, 2), (bf16, 4, 3, 2, 2), (bf16, 4, 5, 1, 2),
    (bf16, 4, 5, 2, 1), (bf16, 4, 7, 1, 2)))]
pub unsafe fn square_half<
    T: Lanes<N>,
    const N: usize,
    const SIDE: usize,
    const STEP: usize,
    const ROWS: usize,
>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    allow_next_kernel();
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve::<T, N, SIDE, STEP, ROWS>(&shape, operands) };
}

/// Any windows in `f32`.
///
/// # Safety
///
/// As for [`square`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, instances((f32, 4), (f32, 1)))]
pub unsafe fn any<T: Lanes<N>, const N: usize>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve_any(&shape, operands) };
}

/// Any windows in 16 bits.
///
/// # Safety
///
/// As for [`square`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, arch = 90, instances((f16, 4), (bf16, 4)))]
pub unsafe fn any_half<T: Lanes<N>, const N: usize>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    allow_next_kernel();
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve_any(&shape, operands) };
}
