//! One filter for each channel: limited by memory, if pixels that windows share are read
//! once, and if many reads wait for memory at a time.
//!
//! The common windows are unrolled along their rows: a thread reads the pixels of a row
//! under its piece, and each goes into all sums whose windows it is in. Rows are a loop,
//! whose body leaves registers for enough warps. Pixels outside of the image are read from
//! zeros elsewhere, so that no read waits for a branch or for another read. What is unrolled
//! is decided by constants, which leave nothing for the optimiser to throw away.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::prelude::*;

use super::{Lanes, Operands, Piece, Shape, THREADS_MAX, biases, write};

/// Columns of a piece; rows are one.
pub const COLUMNS: usize = 4;
/// Most columns under a piece.
const UNDER_MAX: usize = 11;

/// Adds `weight * x` to sums.
#[inline(always)]
pub(super) fn add<const N: usize>(sums: &mut [f32; N], weight: [f32; N], x: [f32; N]) {
    for k in 0..N {
        sums[k] = weight[k].mul_add(x[k], sums[k]);
    }
}

/// Whether a place is under a window of a side that begins at another.
const fn is_under(at: usize, begin: usize, side: usize) -> bool {
    at >= begin && at < begin + side
}

/// Adds the pixels of a row to all sums whose windows they are in: `line` points to the
/// first place under the piece, which is in a column, and `weights` to those of the
/// window's row.
///
/// # Safety
///
/// As for [`square`]; the row is in the image.
#[inline(always)]
unsafe fn add_row<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>(
    shape: &Shape,
    [line, zeros]: [*const T; 2],
    column: i32,
    weights: *const f32,
    sums: &mut [[f32; N]; COLUMNS],
) {
    const { assert!((COLUMNS - 1) * STEP + SIDE <= UNDER_MAX) };
    let [pitch, out_pitch] = shape.pitches.map(|n| n as usize);
    let mut pixels = [T::ZEROS; UNDER_MAX];
    let mut row_weights = [[0.0; N]; UNDER_MAX];
    macro_rules! columns {
        ($do:ident $($x:literal)*) => { $(
            if const { $x < (COLUMNS - 1) * STEP + SIDE } {
                $do!($x);
            }
        )* };
    }
    macro_rules! read {
        ($x:literal) => {
            let from = match shape.is_inside::<1>(column + $x) {
                true => line.wrapping_add($x * pitch),
                false => zeros,
            };
            // SAFETY: the place is in the image, or zeros.
            pixels[$x] = unsafe { T::read(from) };
            if const { $x < SIDE } {
                // SAFETY: the caller's contract.
                row_weights[$x] = unsafe { T::read_f32(weights.wrapping_add($x * out_pitch)) };
            }
        };
    }
    macro_rules! add {
        ($x:literal) => {
            let pixel = T::numbers(pixels[$x]);
            add!($x pixel 0 1 2 3);
        };
        ($x:literal $pixel:ident $($c:literal)*) => { $(
            if const { is_under($x, $c * STEP, SIDE) } {
                add(&mut sums[$c], row_weights[$x - $c * STEP], $pixel);
            }
        )* };
    }
    // All of a row at once, so that reads wait for memory together.
    columns!(read 0 1 2 3 4 5 6 7 8 9 10);
    columns!(add 0 1 2 3 4 5 6 7 8 9 10);
}

/// Square windows of `SIDE` in steps of `STEP`.
///
/// # Safety
///
/// As for [`square`].
#[inline(always)]
unsafe fn convolve<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>(
    shape: &Shape,
    operands: Operands<T>,
) {
    let Some(piece) = shape.piece([COLUMNS as u32, N as u32]) else { return };
    // SAFETY: the caller's contract.
    let bias = unsafe { biases(shape, &operands, piece) };
    let Piece { row, column, channel, .. } = piece;
    let mut sums = [bias; COLUMNS];
    let top = (row * STEP as u32) as i32 - shape.begins[0];
    let left = (column * STEP as u32) as i32 - shape.begins[1];
    let zeros = operands.zeros(shape);
    T::wait();
    // As many rows as `SIDE`, which is unknown here, so that the loop stays one.
    for i in 0..shape.window[0] {
        let row = top + i as i32;
        if !shape.is_inside::<0>(row) {
            continue;
        }
        let line = shape.line(piece.image, row) as isize + left as isize;
        let line = line * shape.pitches[0] as isize + channel as isize;
        let line = operands.input.wrapping_offset(line);
        let tap = (i * SIDE as u32 * shape.pitches[1] + channel) as usize;
        let weights = operands.weights.wrapping_add(tap);
        // SAFETY: the caller's contract.
        unsafe { add_row::<T, N, SIDE, STEP>(shape, [line, zeros], left, weights, &mut sums) };
    }
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
    let Some(piece) = shape.piece([COLUMNS as u32, N as u32]) else { return };
    let channel = piece.channel as usize;
    // SAFETY: the caller's contract.
    let bias = unsafe { biases(shape, &operands, piece) };
    let top = piece.row as i32 * shape.strides[0] - shape.begins[0];
    let left = piece.column as i32 * shape.strides[1] - shape.begins[1];
    let pitch = shape.pitches[0] as usize;
    let zeros = operands.zeros(shape);
    let mut sums = [bias; COLUMNS];
    T::wait();
    for i in 0..shape.window[0] {
        let row = top + i as i32 * shape.dilations[0];
        if !shape.is_inside::<0>(row) {
            continue;
        }
        let line = shape.line(piece.image, row) as usize * pitch + channel;
        let line = operands.input.wrapping_add(line);
        for j in 0..shape.window[1] {
            let at = (i * shape.window[1] + j) as usize * shape.pitches[1] as usize + channel;
            // SAFETY: the caller's contract.
            let weight = unsafe { T::read_f32(operands.weights.add(at)) };
            for c in 0..COLUMNS {
                let x = left + c as i32 * shape.strides[1] + j as i32 * shape.dilations[1];
                let from = match shape.is_inside::<1>(x) {
                    true => line.wrapping_add(x as u32 as usize * pitch),
                    false => zeros,
                };
                // SAFETY: the place is in the image, or zeros.
                let pixel = unsafe { T::read(from) };
                add(&mut sums[c], weight, T::numbers(pixel));
            }
        }
    }
    // SAFETY: the caller's contract.
    unsafe { write(shape, &operands, piece, sums) };
}

/// Square windows of three in `f32`.
///
/// # Safety
///
/// `shape` describes what lies at the pointers: an input with all pixels, weights for all
/// taps with [`ZEROS`](super::ZEROS) behind them, biases and a residual if it says so.
/// Vectors of channels are aligned, pitches are whole vectors and equal. The launch has the
/// shape's blocks, with a thread for each vector of each piece.
#[kernel(max_threads = THREADS_MAX, min_blocks = 4, instances(
    (f32, 4, 3, 1), (f32, 4, 3, 2), (f32, 1, 3, 1), (f32, 1, 3, 2)))]
pub unsafe fn square<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve::<T, N, SIDE, STEP>(&shape, operands) };
}

/// Square windows of five and seven in `f32`.
///
/// # Safety
///
/// As for [`square`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 3, instances((f32, 4, 5, 1), (f32, 4, 5, 2), (f32, 4, 7, 1)))]
pub unsafe fn wide<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve::<T, N, SIDE, STEP>(&shape, operands) };
}

/// Square windows in 16 bits.
///
/// # Safety
///
/// As for [`square`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, arch = 90, instances(
    (f16, 8, 3, 1), (f16, 8, 3, 2), (f16, 8, 5, 1), (f16, 8, 5, 2), (f16, 8, 7, 1),
    (bf16, 8, 3, 1), (bf16, 8, 3, 2)))]
pub unsafe fn square_half<T: Lanes<N>, const N: usize, const SIDE: usize, const STEP: usize>(
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
    unsafe { convolve::<T, N, SIDE, STEP>(&shape, operands) };
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
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, arch = 90, instances((f16, 8), (bf16, 8)))]
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
