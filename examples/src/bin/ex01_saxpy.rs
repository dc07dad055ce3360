//! 01: saxpy, `y = a * x + y`, the first kernel anyone writes.
//!
//! A kernel is a Rust function. What it reads is a slice; what it writes is a type
//! that gives each thread elements of its own, so that threads cannot race. The
//! same function runs on the GPU, compiled to PTX when this program was built, and
//! on the CPU.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex01_saxpy
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_equal, gb_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use raddle::prelude::*;

    /// One element for each thread. Threads past the end have none.
    #[kernel]
    pub fn saxpy(a: f32, x: &[f32], mut y: PerThread<f32>) {
        if let Some((i, y)) = y.mine() {
            // If `x` is shorter than `y` this panics, and the host gets an error
            // (see ex02_panics).
            *y += a * x[i];
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 28, cpu: 1 << 22 }, run)
}

/// Adds vectors of `n` elements.
fn run(device: &Device, n: usize) -> Outcome {
    let a = 2.5;
    let x: Vec<f32> = (0..n).map(|i| (i % 1013) as f32 * 0.1).collect();
    let y: Vec<f32> = (0..n).map(|i| 1.0 - (i % 4999) as f32).collect();

    // A stream is work in order. Buffers are freed when they are dropped.
    let stream = device.stream()?;
    let x_device = stream.upload(&x)?;
    let mut y_device = stream.upload(&y)?;

    // Enough blocks of 256 threads to have one thread for each element.
    let grid = Grid::cover(n, 256);
    stream.launch(grid, kernels::saxpy(a, &x_device, &mut y_device))?;

    // Products and sums are rounded separately, as in a plain loop, so that every
    // bit is the same.
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| y + a * x).collect();
    expect_equal("saxpy", &y_device.to_vec()?, &expected)?;

    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::saxpy(a, &x_device, &mut y_device))?;
        Ok(())
    })?;
    // Reads x and y, writes y.
    let bytes = 3 * n * size_of::<f32>();
    print_rate("saxpy", ms, gb_per_s(bytes, ms), "GB/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_device_computes_what_a_loop_does() {
        raddle_examples::on_every_device(&[0, 1, 255, 10_000], super::run);
    }
}
