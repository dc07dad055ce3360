//! `oorandom` in a kernel: a generator in each thread, for Monte Carlo methods.
//!
//! The number π from random points, and a price from random walks. Each thread has
//! its own stream of PCG numbers, so a result does not depend on the order in which
//! threads run. The crate is the one from the registry, unchanged.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_oorandom
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_close, expect_equal, median_ms, on_best_device, print_rate,
};

mod kernels {
    use oorandom::Rand32;
    use raddle::prelude::*;

    /// Points that a thread draws.
    pub const POINTS: u32 = 256;

    /// How many points of thread `i` lie in the circle.
    pub fn hits(i: usize) -> u32 {
        let mut generator = Rand32::new_inc(42, i as u64);
        let mut is_hit = || {
            let (x, y) = (generator.rand_float(), generator.rand_float());
            x * x + y * y < 1.0
        };
        (0..POINTS).map(|_| u32::from(is_hit())).sum()
    }

    /// What an option to buy at 100 is worth after a walk of 64 steps from there.
    /// A step's normal number is the sum of uniform ones (Irwin and Hall).
    pub fn payoff(i: usize) -> f32 {
        let mut generator = Rand32::new_inc(7, i as u64);
        let (drift, volatility) = (-0.000_05f32, 0.01f32);
        let end = (0..64).fold(100.0f32, |price, _| {
            let normal = (0..12).map(|_| generator.rand_float()).sum::<f32>() - 6.0;
            price + price * (drift + volatility * normal)
        });
        (end - 100.0).max(0.0)
    }

    /// The hits of each block's threads.
    #[kernel(block = 256)]
    pub fn count_hits(mut hits_of_blocks: PerBlock<u32>) {
        for (block, mut slot) in hits_of_blocks.iter_mut() {
            let thread = block * block_dim_x() as usize + thread_x() as usize;
            let of_block = block_all_reduce(hits(thread), |a, b| a + b);
            slot.iter_mut().for_each(|(_, hits)| *hits = [of_block]);
        }
    }

    #[kernel]
    pub fn walk(mut payoffs: PerThread<f32>) {
        for (i, out) in payoffs.iter_mut() {
            *out = payoff(i);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 4096, cpu: 16 }, run)
}

fn run(device: &Device, blocks: usize) -> Outcome {
    let stream = device.stream()?;
    let threads = 256 * blocks;
    let grid = Grid::cover(threads, 256);
    let mut hits = stream.zeros::<u32>(blocks)?;
    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::count_hits(hits.chunks_mut(1)))?;
        Ok(())
    })?;
    let expected: Vec<u32> =
        (0..blocks).map(|b| (256 * b..256 * (b + 1)).map(kernels::hits).sum()).collect();
    let hits = hits.to_vec()?;
    expect_equal("hits", &hits, &expected)?;
    let points = threads as f64 * f64::from(kernels::POINTS);
    let pi = 4.0 * hits.iter().map(|&hits| f64::from(hits)).sum::<f64>() / points;
    println!("π is about {pi:.5}");
    // The error of a mean falls with the root of the number of points.
    expect_close("π", &[pi as f32], &[std::f32::consts::PI], (4.0 / points.sqrt()) as f32)?;
    print_rate("points", ms, points / (ms * 1e3), "million/s");

    let mut payoffs = stream.zeros::<f32>(threads)?;
    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::walk(&mut payoffs))?;
        Ok(())
    })?;
    let payoffs = payoffs.to_vec()?;
    let expected: Vec<f32> = (0..threads).map(kernels::payoff).collect();
    expect_equal("payoffs", &payoffs, &expected)?;
    let price = payoffs.iter().copied().map(f64::from).sum::<f64>() / threads as f64;
    println!("the option is worth {price:.3}");
    print_rate("walks of 64 steps", ms, threads as f64 / (ms * 1e3), "million/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn draws_are_the_hosts() {
        raddle_examples::on_every_device(&[1, 3], super::run);
    }
}
