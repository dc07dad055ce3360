//! 07: a matrix product in three levels, without tensor cores.
//!
//! All levels compute `c = a * b` in `f32`. They differ in how often an element is
//! fetched before it is used up:
//!
//! | level | fetches from | multiply-adds for each fetch |
//! |---|---|--:|
//! | `one_by_one`: a thread computes an element | global memory | 1/2 |
//! | `shared_tiles`: a block stages 16 by 16 tiles | shared memory | 1/2 |
//! | `register_tiles`: 16 by 4, the next tiles on their way | shared memory | 3.2 |
//!
//! Fetches of the last are vectors of four elements.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex07_gemm
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Levels, Outcome, Sizes, noise, on_best_device, product_rows};

mod kernels {
    use raddle::prelude::*;

    /// Each thread computes an element; iterators leave one bounds check in all.
    #[kernel]
    pub fn one_by_one(a: &[f32], b: &[f32], n: u32, mut c: PerThread<f32>) {
        let n = n as usize;
        if let Some((i, c)) = c.mine() {
            let row = a[i / n * n..][..n].iter();
            let column = b[i % n..].iter().step_by(n);
            *c = row.zip(column).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum));
        }
    }

    /// A block computes a 16 by 16 tile from tiles of `a` and `b` that all its
    /// threads fetch together.
    #[kernel(block = 256)]
    pub fn shared_tiles(a: &[f32], b: &[f32], n: u32, mut c: PerBlockTile<f32, 16, 16>) {
        let n = n as usize;
        let mut a_tile = shared!([f32; 256]);
        let mut b_tile = shared!([f32; 256]);
        for mut tile in c.iter_mut() {
            let (first_row, first_col) = (tile.first_row(), tile.first_col());
            let (row, col) = (thread_x() as usize / 16, thread_x() as usize % 16);
            let mut sum = 0.0;
            for k in (0..n).step_by(16) {
                let (a_tile, b_tile) = a_tile.fill_both(
                    |i| a.get((first_row + i / 16) * n + k + i % 16).copied().unwrap_or(0.0),
                    &mut b_tile,
                    |i| b.get((k + i / 16) * n + first_col + i % 16).copied().unwrap_or(0.0),
                );
                for k in 0..16 {
                    sum = a_tile[16 * row + k].mul_add(b_tile[16 * k + col], sum);
                }
            }
            tile.iter_mut().for_each(|(_, _, c)| *c = [sum]);
        }
    }

    /// Sums of four neighbours, `sum + a * b`.
    fn multiply_add(sum: &mut F32x4, a: f32, b: F32x4) {
        *sum = F32x4::new(core::array::from_fn(|i| a.mul_add(b[i], sum[i])));
    }

    /// A block computes 128 by 128 elements, a thread sixteen vectors in rows
    /// `t / 32 + 8 i` at columns `4 (t % 32)`. While it works on one pair of
    /// tiles, the next pair is on its way from global memory to registers.
    #[kernel(block = 256)]
    pub fn register_tiles(a: &[F32x4], b: &[F32x4], n: u32, mut c: PerBlockTile<f32, 128, 128, 4>) {
        let vectors = n as usize / 4;
        let mut a_tile = shared!([F32x4; 128 * 2]);
        let mut b_tile = shared!([F32x4; 8 * 32]);
        let t = thread_x() as usize;
        let (row, col) = (t / 32, t % 32);
        for mut tile in c.iter_mut() {
            // This thread's share of a pair of tiles is one vector of each.
            let a_place = (tile.first_row() + t / 2) * vectors + t % 2;
            let b_place = t / 32 * vectors + tile.first_col() / 4 + t % 32;
            let fetch = |k: usize| {
                let a = a.get(a_place + k).copied().unwrap_or_default();
                let b = b.get(b_place + 4 * k * vectors).copied().unwrap_or_default();
                (a, b)
            };
            let mut sums = [F32x4::splat(0.0); 16];
            let mut next = fetch(0);
            for k in (0..vectors).step_by(2) {
                let (a_next, b_next) = next;
                let (a_tile, b_tile) = a_tile.fill_both(|_| a_next, &mut b_tile, |_| b_next);
                next = fetch(k + 2);
                for k in 0..2 {
                    let b: [F32x4; 4] = core::array::from_fn(|j| b_tile[(4 * k + j) * 32 + col]);
                    unroll::<16>(|i| {
                        let a = a_tile[(row + 8 * i) * 2 + k];
                        (0..4).for_each(|j| multiply_add(&mut sums[i], a[j], b[j]));
                    });
                }
            }
            unroll::<16>(|i| {
                if let Some(c) = tile.get_mut(row + 8 * i, 4 * col) {
                    *c = sums[i].to_array();
                }
            });
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 4096, cpu: 256 }, run)
}

/// Multiplies matrices of `n` by `n` elements, `n` a multiple of 16.
fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let (a, b) = (noise(n * n, 0), noise(n * n, 12345));
    let expected = product_rows(&a, [n; 3], |k, col| b[k * n + col]);
    let (a, b, mut c) = (stream.upload(&a)?, stream.upload(&b)?, stream.zeros::<f32>(n * n)?);
    let (a_vectors, b_vectors) = (a.as_slice().reinterpret()?, b.as_slice().reinterpret()?);
    let width = n as u32;
    let tiles = |edge: usize| Grid::new([n.div_ceil(edge) as u32; 2], 256);
    // One rounding for each of n steps, of sums up to the largest.
    let levels = Levels::new(&stream, 2.0 * (n as f64).powi(3), n as f32 * f32::EPSILON);

    levels.run("one by one", (&mut c, f32::NAN), &expected, |c| {
        stream.launch(Grid::cover(n * n, 256), kernels::one_by_one(&a, &b, width, c))
    })?;
    levels.run("shared tiles", (&mut c, f32::NAN), &expected, |c| {
        stream.launch(tiles(16), kernels::shared_tiles(&a, &b, width, c.matrix_mut(n, n)))
    })?;
    levels.run("register tiles", (&mut c, f32::NAN), &expected, |c| {
        let c = c.matrix_mut(n, n);
        stream.launch(tiles(128), kernels::register_tiles(a_vectors, b_vectors, width, c))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_levels_give_the_product() {
        raddle_examples::on_every_device(&[16, 144], super::run);
    }
}
