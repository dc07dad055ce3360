//! 08: a matrix product on tensor cores, `c = a * bᵀ`, in three levels and a fusion.
//!
//! A tensor core multiplies fragments: 16 by 16 elements of `a` with 16 by 8 of `bᵀ`,
//! spread over the registers of a warp. The first level fetches fragments straight
//! from global memory. The others compute 128 by 128 elements with four warps, from
//! tiles in shared memory that asynchronous copies keep filling, one or two steps
//! ahead. The last adds a bias and cuts off negative numbers before it stores.
//! All of it is safe Rust: `TileMut` hands out its elements as the tensor core does.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex08_tensor_cores
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Levels, Outcome, Sizes, noise, on_best_device, product_rows};

mod kernels {
    use raddle::device::tile::{
        Accumulator, Left, Matrix, Right, SharedTile, Stage, TileMut, Tiling,
    };
    use raddle::prelude::*;

    /// A warp with one fragment.
    pub type Single = Tiling<1, 1, 1, 1>;

    /// One warp computes 16 by 8 elements. `a` and `b` are read as pairs of
    /// elements, since that is what a register holds; there are `pairs` in a row.
    #[kernel(block = Single::THREADS)]
    pub fn from_global(a: &[u32], b: &[u32], mut c: TileMut<f16, Single>, pairs: u32) {
        let (row, col) = c.place();
        let pairs = pairs as usize;
        // The place of a lane in fragments, as the PTX manual draws it.
        let (group, quad) = (lane() as usize / 4, lane() as usize % 4);
        // Outside of a matrix there are zeros.
        let at = |matrix: &[u32], row: usize, k: usize| {
            let is_inside = k < pairs;
            matrix.get(row * pairs + k).filter(|_| is_inside).copied().unwrap_or(0)
        };
        let a = |i: usize, k: usize| at(a, row + group + 8 * (i % 2), k + quad + 4 * (i / 2));
        let b = |i: usize, k: usize| at(b, col + group, k + quad + 4 * i);
        let mut sum = Accumulator::<f32, 1, 1>::zero();
        for k in (0..pairs).step_by(8) {
            let left = Left::<f16>::from_registers([a(0, k), a(1, k), a(2, k), a(3, k)]);
            let right = Right::<f16>::from_registers([b(0, k), b(1, k)]);
            sum.multiply_add(&[left], &[right]);
        }
        c.write(sum.map(f16::from_f32));
    }

    /// 2 by 2 warps with 4 by 8 fragments each.
    pub type Block = Tiling<2, 2, 4, 8>;
    /// Elements of `k` in a step.
    const K: usize = 32;
    type Tile = SharedTile<f16, { Block::ROWS }, K>;

    /// This warp's part of the block's tile of `a * bᵀ`.
    fn product<const STAGES: usize>(
        a: Matrix<'_, f16>,
        b: Matrix<'_, f16>,
        (row, col): (usize, usize),
    ) -> Accumulator<f32, 4, 8> {
        let mut ring = shared!([Stage<Tile, Tile>; STAGES]);
        let mut sum = Accumulator::zero();
        ring.stream(
            a.cols().div_ceil(K),
            |step, left, right| {
                left.copy(&a, row, step * K);
                right.copy(&b, col, step * K);
            },
            |left, right| sum.add_product::<Block, _, _, _, _>(left, right),
        );
        sum
    }

    /// `c = a * bᵀ`
    #[kernel(block = Block::THREADS, instances(2, 3))]
    pub fn from_shared<const STAGES: usize>(
        a: &[f16],
        b: &[f16],
        mut c: TileMut<f16, Block>,
        k: u32,
    ) {
        let (a, b) = (Matrix::new(a, c.rows(), k as usize), Matrix::new(b, c.cols(), k as usize));
        c.write(product::<STAGES>(a, b, c.place()).map(f16::from_f32));
    }

    /// `c = max(a * bᵀ + bias, 0)`
    #[kernel(block = Block::THREADS)]
    pub fn layer(a: &[f16], b: &[f16], bias: &[f16], mut c: TileMut<f16, Block>, k: u32) {
        let (a, b) = (Matrix::new(a, c.rows(), k as usize), Matrix::new(b, c.cols(), k as usize));
        let first = c.place().1 + raddle::device::tile::warp_col::<Block>();
        let sum = product::<3>(a, b, c.place());
        c.write(sum.map_places(|_, col, sum| {
            let bias = bias.get(first + col).map_or(0.0, |bias| bias.to_f32());
            f16::from_f32((sum + bias).max(0.0))
        }));
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 8192, cpu: 128 }, run)
}

/// Multiplies matrices with `k` columns, a multiple of 8.
fn run(device: &Device, k: usize) -> Outcome {
    let stream = device.stream()?;
    let (m, n) = (k, k + k / 2);
    let halves = |x: Vec<f32>| x.into_iter().map(f16::from_f32).collect::<Vec<f16>>();
    let [a, b, bias] = [noise(m * k, 0), noise(n * k, 77), noise(n, 5)].map(halves);
    let product = {
        let a: Vec<f32> = a.iter().map(|a| a.to_f32()).collect();
        product_rows(&a, [m, k, n], |k_at, col| b[col * k + k_at].to_f32())
    };
    let mut layer = product.clone();
    for (_, row) in &mut layer {
        row.iter_mut().zip(&bias).for_each(|(sum, bias)| *sum = (*sum + bias.to_f32()).max(0.0));
    }
    let (a, b, bias) = (stream.upload(&a)?, stream.upload(&b)?, stream.upload(&bias)?);
    let (a_pairs, b_pairs) = (a.as_slice().reinterpret()?, b.as_slice().reinterpret()?);
    let mut c = stream.filled(m * n, f16::NAN)?;
    let tiles = |rows: usize, cols: usize| [n.div_ceil(cols) as u32, m.div_ceil(rows) as u32];
    let blocks = Grid::new(tiles(128, 128), kernels::Block::THREADS);
    let width = k as u32;
    // The result is rounded to eleven bits; sums lose far less on their way.
    let levels = Levels::new(&stream, 2.0 * (m * n) as f64 * k as f64, 1.0 / 2048.0);

    levels.run("fragments from global memory", (&mut c, f16::NAN), &product, |c| {
        let grid = Grid::new(tiles(16, 8), kernels::Single::THREADS);
        let c = c.matrix_mut(m, n);
        stream.launch(grid, kernels::from_global(a_pairs, b_pairs, c, width / 2))
    })?;
    levels.run("tiles, copied a step ahead", (&mut c, f16::NAN), &product, |c| {
        stream.launch(blocks, kernels::from_shared::<2>(&a, &b, c.matrix_mut(m, n), width))
    })?;
    levels.run("tiles, copied two steps ahead", (&mut c, f16::NAN), &product, |c| {
        stream.launch(blocks, kernels::from_shared::<3>(&a, &b, c.matrix_mut(m, n), width))
    })?;
    levels.run("the same with bias and ReLU", (&mut c, f16::NAN), &layer, |c| {
        stream.launch(blocks, kernels::layer(&a, &b, &bias, c.matrix_mut(m, n), width))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_levels_give_the_product() {
        raddle_examples::on_every_device(&[16, 40], super::run);
    }
}
