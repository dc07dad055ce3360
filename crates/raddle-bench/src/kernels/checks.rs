//! What checks and panics cost: a reduction and a product in ordinary indexing, and
//! their twins without checks. Each pair is one body that gets its elements through a
//! closure.

use raddle::prelude::*;

use super::memory::sum_of;

/// [`memory::sum`](super::memory::sum) without bounds checks.
///
/// # Safety
///
/// None beyond those of a safe kernel: the body stays within `x` for any launch.
#[kernel(max_registers = 64)]
pub unsafe fn sum_unchecked(x: &[F32x4], partial: PerBlock<f32>) {
    // SAFETY: `sum_of` asks for places below the length only.
    sum_of(x, |rest, at| unsafe { *rest.get_unchecked(at) }, partial);
}

/// Edge of the tile that a block computes.
pub const TILE: usize = 64;
/// Threads of a block.
pub const THREADS: u32 = 256;

/// `c = a * b` in f32, by 64×64 tiles in shared memory and 4×4 sums in the registers
/// of a thread; `vectors` to a row of all matrices, whose edges are multiples of 64.
#[kernel(block = THREADS, min_blocks = 2)]
pub fn gemm_f32(a: &[F32x4], b: &[F32x4], vectors: u32, c: PerBlockTile<f32, TILE, TILE, 4>) {
    product(|i| a[i], |i| b[i], vectors as usize, c);
}

/// [`gemm_f32`] without bounds checks.
///
/// # Safety
///
/// `a` and `b` are square, with rows of `vectors` vectors, as `c`, which whole tiles
/// cover.
#[kernel(block = THREADS, min_blocks = 2)]
pub unsafe fn gemm_f32_unchecked(
    a: &[F32x4],
    b: &[F32x4],
    vectors: u32,
    c: PerBlockTile<f32, TILE, TILE, 4>,
) {
    product(
        // SAFETY: the tiles of a square matrix lie within it.
        |i| unsafe { *a.get_unchecked(i) },
        // SAFETY: as above.
        |i| unsafe { *b.get_unchecked(i) },
        vectors as usize,
        c,
    );
}

#[inline(always)]
fn product(
    a: impl Fn(usize) -> F32x4,
    b: impl Fn(usize) -> F32x4,
    vectors: usize,
    mut c: PerBlockTile<f32, TILE, TILE, 4>,
) {
    let mut a_tile = shared!([F32x4; TILE * 4]);
    let mut b_tile = shared!([F32x4; TILE / 4 * 16]);
    let thread = thread_x() as usize;
    let (row, col) = (thread / 16, thread % 16);
    for mut tile in c.iter_mut() {
        let (first_row, first_col) = (tile.first_row(), tile.first_col() / 4);
        // A thread fetches one vector of each tile, the next ones while it computes.
        let fetch_a = |k: usize| a((first_row + thread / 4) * vectors + k + thread % 4).to_array();
        let fetch_b =
            |k: usize| b((4 * k + thread / 16) * vectors + first_col + thread % 16).to_array();
        let mut sums = [F32x4::splat(0.0); 4];
        // By name, since a vector that is replaced under a condition would lie in memory.
        let [mut a0, mut a1, mut a2, mut a3] = fetch_a(0);
        let [mut b0, mut b1, mut b2, mut b3] = fetch_b(0);
        for k in (0..vectors).step_by(4) {
            let (a_tile, b_tile) = a_tile.fill_both(
                move |_| F32x4::new([a0, a1, a2, a3]),
                &mut b_tile,
                move |_| F32x4::new([b0, b1, b2, b3]),
            );
            if k + 4 < vectors {
                [a0, a1, a2, a3] = fetch_a(k + 4);
                [b0, b1, b2, b3] = fetch_b(k + 4);
            }
            for k in 0..4 {
                let left: [F32x4; 4] = core::array::from_fn(|i| a_tile[(row + 16 * i) * 4 + k]);
                for j in 0..4 {
                    let right = b_tile[(4 * k + j) * 16 + col];
                    for i in 0..4 {
                        sums[i] = right.zip_with(sums[i], |b, sum| left[i][j].mul_add(b, sum));
                    }
                }
            }
        }
        // By constant indices, since arrays in registers have no others.
        unroll::<4>(|i| {
            if let Some(c) = tile.get_mut(row + 16 * i, 4 * col) {
                *c = sums[i].to_array();
            }
        });
    }
}
