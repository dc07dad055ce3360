//! `num-complex` in a kernel: Newton's method in the plane.
//!
//! Each pixel is where an iteration for `z⁵ = 1` begins; its colour is the root
//! that the iteration ends at. The crate is the one from the registry, unchanged.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_num_complex
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Outcome, Sizes, expect_equal, median_ms, on_best_device, print_rate};

mod kernels {
    use num_complex::Complex64;
    use raddle::prelude::*;

    /// Which of the five roots of one the iteration from a pixel ends at, or 5.
    pub fn root(column: u32, row: u32, edge: u32) -> u8 {
        let place = |i: u32| (2.0 * f64::from(i) + 1.0) / f64::from(edge) - 1.0;
        let mut z = Complex64::new(place(column), place(row));
        for _ in 0..64 {
            z -= (z.powi(5) - 1.0) / (5.0 * z.powi(4));
        }
        let angle = |k: u8| f64::from(k) * core::f64::consts::TAU / 5.0;
        let is_near = |k: &u8| (z - Complex64::cis(angle(*k))).norm_sqr() < 1e-6;
        (0..5).find(is_near).unwrap_or(5)
    }

    #[kernel]
    pub fn newton(edge: u32, mut roots: PerThread<u8>) {
        for (i, out) in roots.iter_mut() {
            *out = root(i as u32 % edge, i as u32 / edge, edge);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 2048, cpu: 128 }, run)
}

/// A picture of `edge` by `edge` pixels.
fn run(device: &Device, edge: usize) -> Outcome {
    let stream = device.stream()?;
    let n = edge * edge;
    let mut roots = stream.zeros::<u8>(n)?;
    let ms = median_ms(&stream, || {
        stream.launch(Grid::cover(n, 128), kernels::newton(edge as u32, &mut roots))?;
        Ok(())
    })?;
    let roots = roots.to_vec()?;
    let width = edge as u32;
    let expected: Vec<u8> =
        (0..n as u32).map(|i| kernels::root(i % width, i / width, width)).collect();
    expect_equal("roots", &roots, &expected)?;
    let counts = [0, 1, 2, 3, 4, 5].map(|k| roots.iter().filter(|&&root| root == k).count());
    println!("pixels that end at each root, and at none: {counts:?}");
    print_rate("Newton's method", ms, n as f64 / (ms * 1e3), "Mpixel/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn pixels_end_at_the_roots_that_the_host_finds() {
        raddle_examples::on_every_device(&[1, 32], super::run);
    }
}
