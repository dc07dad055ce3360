//! Kernels over the rows of a matrix, one block to a row: softmax, layer norm.
//!
//! A row is read once, kept in registers as `VECTORS` vectors of eight a thread,
//! and written once. The next row is on its way while this one is computed.

use raddle::device::approx::exp2_approx;
use raddle::device::hint::opaque;
use raddle::prelude::*;

/// Eight f16, as the pairs that instructions work on.
pub type Half8 = Vector<f16x2, 4>;
type Row<const VECTORS: usize> = [Half8; VECTORS];

/// This thread's vectors of row `row`, which has `columns` vectors.
fn load<const VECTORS: usize>(x: &[Half8], row: usize, columns: usize) -> Row<VECTORS> {
    let start = row * columns + thread_x() as usize;
    core::array::from_fn(|v| x.get(start + v * block_dim_x() as usize).copied().unwrap_or_default())
}

/// The eight numbers of a vector.
fn widen(vector: Half8) -> [f32; 8] {
    let pairs = vector.to_array().map(f16x2::to_f32s);
    core::array::from_fn(|i| pairs[i / 2][i % 2])
}

fn narrow(values: [f32; 8]) -> Half8 {
    Half8::new(core::array::from_fn(|i| f16x2::from_f32s(values[2 * i], values[2 * i + 1])))
}

/// Folds this thread's elements of a row, which are converted anew for each fold.
fn fold<const VECTORS: usize>(row: &Row<VECTORS>, start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut result = start;
    for vector in &opaque(*row) {
        for v in widen(*vector) {
            result = f(result, v);
        }
    }
    result
}

/// This thread's largest element of a row.
fn largest<const VECTORS: usize>(row: &Row<VECTORS>) -> f32 {
    let mut result = f16x2::splat(f16::NEG_INFINITY);
    for vector in row {
        for pair in vector.to_array() {
            result = result.max(pair);
        }
    }
    let [low, high] = result.to_f32s();
    low.max(high)
}

/// `exp(x - max) / sum`, by rows; a row has `8 * VECTORS * THREADS` elements. The
/// exponentials are computed twice, which costs less than the registers to keep
/// them: 64 a thread leave room for a full multiprocessor's worth of loads.
#[kernel(block = THREADS, min_blocks = 1024 / THREADS, instances((2, 256), (2, 64), (4, 1024)))]
pub fn softmax<const VECTORS: usize, const THREADS: u32>(x: &[Half8], mut y: PerBlock<Half8>) {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    let columns = y.chunk_len();
    let mut next: Row<VECTORS> = load(x, block_x() as usize, columns);
    for (r, mut out) in y.iter_mut() {
        let row = next;
        next = load(x, r + grid_dim_x() as usize, columns);
        let max = block_all_reduce(largest(&row), f32::max);
        let shift = -max * LOG2_E;
        let mine = fold(&row, 0.0, |sum, v| sum + exp2_approx(v.mul_add(LOG2_E, shift)));
        let scale = 1.0 / block_all_reduce(mine, |a, b| a + b);
        let (row, mut outs) = (opaque(row), out.iter_mut());
        for vector in &row {
            if let Some((_, out)) = outs.next() {
                let values = widen(*vector);
                *out = [narrow(values.map(|v| exp2_approx(v.mul_add(LOG2_E, shift)) * scale))];
            }
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias`, by rows.
#[kernel(block = THREADS, min_blocks = 1024 / THREADS, instances((2, 256), (2, 64), (4, 1024)))]
pub fn layer_norm<const VECTORS: usize, const THREADS: u32>(
    x: &[Half8],
    weight: &[Half8],
    bias: &[Half8],
    epsilon: f32,
    mut y: PerBlock<Half8>,
) {
    let columns = y.chunk_len();
    let count = 1.0 / (8 * columns) as f32;
    let mut next: Row<VECTORS> = load(x, block_x() as usize, columns);
    for (r, mut out) in y.iter_mut() {
        let row = next;
        next = load(x, r + grid_dim_x() as usize, columns);
        let mean = block_all_reduce(fold(&row, 0.0, |sum, v| sum + v), |a, b| a + b) * count;
        let squares = fold(&row, 0.0, |sum, v| (v - mean).mul_add(v - mean, sum));
        let variance = block_all_reduce(squares, |a, b| a + b) * count;
        let scale = 1.0 / (variance + epsilon).sqrt();
        let (row, mut outs) = (opaque(row), out.iter_mut());
        for vector in &row {
            if let Some((at, out)) = outs.next() {
                // Read again for each row: they stay in the cache.
                let weight = widen(weight.get(at).copied().unwrap_or_default());
                let bias = widen(bias.get(at).copied().unwrap_or_default());
                let values = widen(*vector);
                *out = [narrow(core::array::from_fn(|i| {
                    ((values[i] - mean) * scale).mul_add(weight[i], bias[i])
                }))];
            }
        }
    }
}
