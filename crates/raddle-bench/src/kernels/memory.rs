//! Kernels that only move memory: element-wise sum, reduction, transpose.

use raddle::prelude::*;

use super::rows::Half8;

/// A number in [-1, 1) that depends on `seed` and `i` only (a 64-bit mix).
pub fn noise(seed: u64, i: u64) -> f32 {
    let mut z = ((seed << 40) ^ i).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z >> 40) as f32 * (2.0 / (1u64 << 24) as f32) - 1.0
}

/// Fills `out` with noise.
#[kernel]
pub fn fill_f32(seed: u64, mut out: PerThread<F32x4>) {
    for (i, out) in out.iter_mut() {
        *out = F32x4::new(core::array::from_fn(|k| noise(seed, (4 * i + k) as u64)));
    }
}

/// Fills `out` with noise.
#[kernel]
pub fn fill_f16(seed: u64, mut out: PerThread<Half8>) {
    for (i, out) in out.iter_mut() {
        let element = |k: usize| noise(seed, (8 * i + k) as u64);
        *out = Half8::new(core::array::from_fn(|k| {
            f16x2::from_f32s(element(2 * k), element(2 * k + 1))
        }));
    }
}

/// `z = x + y`, four elements a step.
#[kernel]
pub fn add(x: &[F32x4], y: &[F32x4], mut z: PerThread<F32x4>) {
    for (i, z) in z.iter_mut() {
        *z = x[i] + y[i];
    }
}

/// One partial sum for each block. With more registers a multiprocessor would hold
/// fewer threads, and fewer loads would be under way.
#[kernel(max_registers = 64)]
pub fn sum(x: &[F32x4], partial: PerBlock<f32>) {
    sum_of(x, |rest, at| rest[at], partial);
}

/// The body of [`sum`]. Four loads are under way in each thread before the
/// first of them is needed, which is what keeps the memory busy.
///
/// The thread keeps what lies ahead of it as a slice and asks for places in it that its
/// length is known to cover: no check is left in the loop. Places in all of `x`, as
/// `x[i + k * step]` below `i + 3 * step < x.len()`, would be checked one by one, since
/// the sum might have wrapped.
#[inline(always)]
pub fn sum_of(x: &[F32x4], element: impl Fn(&[F32x4], usize) -> F32x4, mut partial: PerBlock<f32>) {
    let mut total = [F32x4::splat(0.0); 4];
    let step = global_dim_x();
    let mut rest = x.get(global_x()..).unwrap_or_default();
    while rest.len() > 3 * step {
        let values: [F32x4; 4] = unrolled(|k| element(rest, k * step));
        unroll::<4>(|k| total[k] += values[k]);
        rest = rest.get(4 * step..).unwrap_or_default();
    }
    while !rest.is_empty() {
        total[0] += element(rest, 0);
        rest = rest.get(step..).unwrap_or_default();
    }
    let [a, b, c, d] = ((total[0] + total[1]) + (total[2] + total[3])).to_array();
    let block_total = block_all_reduce((a + b) + (c + d), |a, b| a + b);
    for (_, mut chunk) in partial.iter_mut() {
        if let Some(slot) = chunk.get_mut(0) {
            slot[0] = block_total;
        }
    }
}

/// Edge of the transpose's tile.
pub const TILE: usize = 64;
/// Threads of a block of the transpose.
pub const TRANSPOSE_THREADS: u32 = 256;

/// `y = xᵀ` for `x` of [rows, columns], both multiples of 4; `x` comes as vectors
/// along its rows. A tile is read along rows of `x` and written along rows of `y`,
/// each time in vectors. In shared memory the vectors of a row are permuted by
/// `xor`, so that reading a column meets each bank twice at most.
#[kernel(block = TRANSPOSE_THREADS)]
pub fn transpose(x: &[F32x4], columns: u32, mut y: PerBlockTile<f32, TILE, TILE, 4>) {
    let mut shared = shared!([[F32x4; TILE / 4]; TILE]);
    let stride = columns as usize / 4;
    for mut tile in y.iter_mut() {
        let start = tile.first_col() * stride + tile.first_row() / 4;
        let view = shared.fill_matrix(|row, vector| {
            x.get(start + row * stride + (vector ^ (row / 4))).copied().unwrap_or_default()
        });
        tile.iter_mut().for_each(|(row, column, y)| {
            let vector = (row / 4) ^ (column / 4);
            *y = core::array::from_fn(|k| view[column + k][vector][row % 4]);
        });
    }
}
