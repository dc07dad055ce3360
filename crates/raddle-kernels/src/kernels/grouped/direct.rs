//! Groups of several channels: a thread has neighbouring outputs of one group, and each
//! weight that it reads goes into all pixels of its piece.
#![allow(clippy::needless_range_loop)] // indices that unrolling makes constants

use raddle::prelude::*;

use super::depthwise::add;
use super::{Activation, Lanes, Operands, Shape, THREADS_MAX, biases, divided, write};

/// Columns of a piece; rows are one.
pub const COLUMNS: usize = 8;

/// Adds a pixel's inputs to its sums.
///
/// # Safety
///
/// The inputs are there.
#[inline(always)]
unsafe fn add_pixel<T: Lanes<K>, const N: usize, const K: usize>(
    from: *const T,
    weights: &[[f32; N]; K],
    sums: &mut [f32; N],
) {
    // SAFETY: the caller's contract.
    let elements = T::numbers(unsafe { T::read(from) });
    for v in 0..K {
        add(sums, weights[v], [elements[v]; N]);
    }
}

/// `N` outputs to a thread, from inputs `K` at a time.
///
/// # Safety
///
/// `shape` describes what lies at the pointers; a group has whole `N`s of outputs and whole
/// `K`s of inputs, which are aligned.
#[inline(always)]
unsafe fn convolve<T: Lanes<N> + Lanes<K>, const N: usize, const K: usize>(
    shape: &Shape,
    operands: Operands<T>,
) {
    let Some(piece) = shape.piece([COLUMNS as u32, N as u32]) else { return };
    let channel = piece.channel as usize;
    let is_channel = piece.channel < shape.channels;
    let mut sums = [[0.0; N]; COLUMNS];
    <T as Lanes<N>>::wait();
    if is_channel {
        // SAFETY: the caller's contract.
        sums = [unsafe { biases(shape, &operands, piece) }; COLUMNS];
    }
    let group = divided(piece.channel, shape.outputs)[0];
    let top = piece.row as i32 * shape.strides[0] - shape.begins[0];
    let left = piece.column as i32 * shape.strides[1] - shape.begins[1];
    let [pitch, out_pitch] = shape.pitches.map(|n| n as usize);
    let rows = if is_channel { shape.window[0] } else { 0 };
    let zeros = operands.zeros(shape);
    for i in 0..rows {
        let row = top + i as i32 * shape.dilations[0];
        if !shape.is_inside::<0>(row) {
            continue;
        }
        let line = shape.line(piece.image, row) as usize * pitch;
        let line = line + (group * shape.inputs) as usize;
        let line = operands.input.wrapping_add(line);
        for j in 0..shape.window[1] {
            let tap = (i * shape.window[1] + j) as usize * shape.inputs as usize;
            let filters = operands.weights.wrapping_add(tap * out_pitch + channel);
            let x = left + j as i32 * shape.dilations[1];
            let mut k = 0;
            while k < shape.inputs as usize {
                let mut weights = [[0.0; N]; K];
                for v in 0..K {
                    let from = filters.wrapping_add((k + v) * out_pitch);
                    // SAFETY: the caller's contract.
                    weights[v] = unsafe { <T as Lanes<N>>::read_f32(from) };
                }
                macro_rules! pixels {
                    ($($c:literal)*) => { $(
                        let column = x + $c * shape.strides[1];
                        let from = match shape.is_inside::<1>(column) {
                            true => line.wrapping_add(column as u32 as usize * pitch + k),
                            false => zeros,
                        };
                        // SAFETY: the place is in the image, or zeros.
                        unsafe { add_pixel(from, &weights, &mut sums[$c]) };
                    )* };
                }
                pixels!(0 1 2 3 4 5 6 7);
                k += K;
            }
        }
    }
    if is_channel {
        // SAFETY: the caller's contract.
        unsafe { write(shape, &operands, piece, sums) };
    } else {
        let zeros = Shape { has_residual: 0, activation: Activation::IDENTITY, ..*shape };
        // SAFETY: the caller's contract.
        unsafe { write(&zeros, &operands, piece, sums) };
    }
}

/// Groups in `f32`.
///
/// # Safety
///
/// As for the depthwise kernels; a group has whole `N`s of outputs and whole `K`s of inputs,
/// and pitches may differ.
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, instances((f32, 4, 4), (f32, 4, 1), (f32, 1, 1)))]
pub unsafe fn groups<T: Lanes<N> + Lanes<K>, const N: usize, const K: usize>(
    shape: Shape,
    input: *const T,
    weights: *const f32,
    bias: *const f32,
    residual: *const T,
    out: *mut T,
) {
    let operands = Operands { input, weights, bias, residual, out };
    // SAFETY: the caller's contract.
    unsafe { convolve::<T, N, K>(&shape, operands) };
}

/// Groups in 16 bits.
///
/// # Safety
///
/// As for [`groups`].
#[kernel(max_threads = THREADS_MAX, min_blocks = 2, arch = 90, instances(
    (f16, 4, 4), (f16, 4, 1), (f16, 1, 1), (bf16, 4, 4), (bf16, 4, 1), (bf16, 1, 1)))]
pub unsafe fn groups_half<T: Lanes<N> + Lanes<K>, const N: usize, const K: usize>(
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
    unsafe { convolve::<T, N, K>(&shape, operands) };
}
