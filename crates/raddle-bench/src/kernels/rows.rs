//! Kernels over the rows of a matrix, one block to a row: softmax, layer norm.
//!
//! A row is read once, kept in registers as `VECTORS` vectors of eight a thread,
//! and written once. The next row is on its way while this one is computed.

use raddle::prelude::*;

type Row<const VECTORS: usize> = [F16x8; VECTORS];

/// This thread's vectors of row `row`, whose vectors are `stride` apart.
fn load<const VECTORS: usize>(x: &[F16x8], row: usize, columns: usize) -> Row<VECTORS> {
    let start = row * columns + thread_x() as usize;
    core::array::from_fn(|v| x.get(start + v * block_dim_x() as usize).copied().unwrap_or_default())
}

/// Folds this thread's elements of a row.
fn fold<const VECTORS: usize>(row: &Row<VECTORS>, start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut result = start;
    for vector in row {
        for v in vector.to_array() {
            result = f(result, v.to_f32());
        }
    }
    result
}

/// `exp(x - max) / sum`, by rows; a row has `8 * VECTORS * blockDim` elements.
#[kernel(instances(1, 2, 4))]
pub fn softmax<const VECTORS: usize>(x: &[F16x8], mut y: PerBlock<F16x8>) {
    let columns = y.chunk_len();
    let mut next: Row<VECTORS> = load(x, block_x() as usize, columns);
    for (r, mut out) in y.iter_mut() {
        let row = next;
        next = load(x, r + grid_dim_x() as usize, columns);
        let max = block_all_reduce(fold(&row, f32::NEG_INFINITY, f32::max), f32::max);
        let mut shifted = [[0.0f32; 8]; VECTORS];
        for v in 0..VECTORS {
            for i in 0..8 {
                shifted[v][i] = (row[v][i].to_f32() - max).exp();
            }
        }
        let mine: f32 = shifted.iter().map(|v| v.iter().sum::<f32>()).sum();
        let scale = 1.0 / block_all_reduce(mine, |a, b| a + b);
        let mut outs = out.iter_mut();
        for v in 0..VECTORS {
            if let Some((_, out)) = outs.next() {
                *out = [F16x8::new(core::array::from_fn(|i| f16::from_f32(shifted[v][i] * scale)))];
            }
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, by rows.
#[kernel(instances(1, 2, 4))]
pub fn layer_norm<const VECTORS: usize>(
    x: &[F16x8],
    weight: &[F16x8],
    bias: &[F16x8],
    epsilon: f32,
    mut y: PerBlock<F16x8>,
) {
    let columns = y.chunk_len();
    let weight: Row<VECTORS> = load(weight, 0, columns);
    let bias: Row<VECTORS> = load(bias, 0, columns);
    let count = 1.0 / (8 * columns) as f32;
    let mut next: Row<VECTORS> = load(x, block_x() as usize, columns);
    for (r, mut out) in y.iter_mut() {
        let row = next;
        next = load(x, r + grid_dim_x() as usize, columns);
        let mean = block_all_reduce(fold(&row, 0.0, |a, v| a + v), |a, b| a + b) * count;
        let squares = fold(&row, 0.0, |a, v| a + (v - mean) * (v - mean));
        let variance = block_all_reduce(squares, |a, b| a + b) * count;
        let scale = 1.0 / (variance + epsilon).sqrt();
        let mut outs = out.iter_mut();
        for v in 0..VECTORS {
            if let Some((_, out)) = outs.next() {
                *out = [F16x8::new(core::array::from_fn(|i| {
                    let normal = (row[v][i].to_f32() - mean) * scale;
                    f16::from_f32(normal * weight[v][i].to_f32() + bias[v][i].to_f32())
                }))];
            }
        }
    }
}
