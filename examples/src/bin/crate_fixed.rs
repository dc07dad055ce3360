//! `fixed` in a kernel: numbers with a fixed binary point, for results that do not
//! depend on any rounding mode.
//!
//! A Mandelbrot set in 32-bit numbers with 24 bits behind the point, and a filter
//! that saturates as an audio mixer does. The crate is the one from the registry,
//! unchanged.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_fixed
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Outcome, Sizes, expect_equal, median_ms, on_best_device, print_rate};

mod kernels {
    use fixed::types::{I1F15, I8F24};
    use raddle::prelude::*;

    /// Steps until the orbit of a point leaves the circle of radius 2.
    pub fn escape(column: u32, row: u32, edge: u32) -> u32 {
        let place = |i: u32| I8F24::from_num(4.0 * i as f32 / edge as f32 - 2.0);
        let (cx, cy) = (place(column), place(row));
        let (mut x, mut y) = (I8F24::ZERO, I8F24::ZERO);
        (0..256)
            .find(|_| {
                let (xx, yy) = (x * x, y * y);
                y = 2 * (x * y) + cy;
                x = xx - yy + cx;
                xx + yy > 4
            })
            .unwrap_or(256)
    }

    /// Sample `i` mixed with echoes of itself, louder than a sample can be.
    pub fn mix(samples: &[i16], i: usize) -> i16 {
        let echoes = [(0, "0.9"), (3, "0.6"), (8, "-0.5"), (21, "0.3")];
        let sum = echoes.iter().fold(I1F15::ZERO, |sum, (delay, volume)| {
            let sample = i.checked_sub(*delay).map_or(0, |i| samples[i]);
            let volume: I1F15 = volume.parse().unwrap_or_default();
            sum.saturating_add(I1F15::from_bits(sample).saturating_mul(volume))
        });
        sum.to_bits()
    }

    #[kernel]
    pub fn mandelbrot(edge: u32, mut steps: PerThread<u32>) {
        for (i, steps) in steps.iter_mut() {
            *steps = escape(i as u32 % edge, i as u32 / edge, edge);
        }
    }

    #[kernel]
    pub fn mix_all(samples: &[i16], mut mixed: PerThread<i16>) {
        for (i, mixed) in mixed.iter_mut() {
            *mixed = mix(samples, i);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 2048, cpu: 128 }, run)
}

/// A picture of `edge` by `edge` pixels, and as many samples.
fn run(device: &Device, edge: usize) -> Outcome {
    let stream = device.stream()?;
    let n = edge * edge;
    let grid = Grid::cover(n, 128);
    let mut steps = stream.zeros::<u32>(n)?;
    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::mandelbrot(edge as u32, &mut steps))?;
        Ok(())
    })?;
    let width = edge as u32;
    let expected: Vec<u32> =
        (0..n as u32).map(|i| kernels::escape(i % width, i / width, width)).collect();
    expect_equal("steps", &steps.to_vec()?, &expected)?;
    print_rate("Mandelbrot set", ms, n as f64 / (ms * 1e3), "Mpixel/s");

    let samples: Vec<i16> = (0..n as u32).map(|i| (i.wrapping_mul(40_503) >> 4) as i16).collect();
    let samples_device = stream.upload(&samples)?;
    let mut mixed = stream.zeros::<i16>(n)?;
    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::mix_all(&samples_device, &mut mixed))?;
        Ok(())
    })?;
    let expected: Vec<i16> = (0..n).map(|i| kernels::mix(&samples, i)).collect();
    expect_equal("mixed samples", &mixed.to_vec()?, &expected)?;
    print_rate("mix", ms, n as f64 / (ms * 1e3), "Msample/s");
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_bit_is_the_hosts() {
        raddle_examples::on_every_device(&[1, 24], super::run);
    }
}
