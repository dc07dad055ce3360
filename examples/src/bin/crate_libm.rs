//! `libm` in a kernel: special functions that the standard library lacks.
//!
//! The crate is the one from the registry, unchanged. It computes with integer and
//! float operations only, so the device's results are the host's, bit for bit.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin crate_libm
//! ```

use std::process::ExitCode;

use raddle::prelude::*;
use raddle_examples::{Outcome, Sizes, expect_equal, median_ms, on_best_device, print_rate};

mod kernels {
    use raddle::prelude::*;

    /// A function of one number, and its name.
    pub type Function = (&'static str, fn(f64) -> f64);

    /// Kernels know a function by its place in this table.
    pub const FUNCTIONS: [Function; 6] = [
        ("erf", libm::erf),
        ("gamma", libm::tgamma),
        ("Bessel J0", libm::j0),
        ("Bessel Y1", libm::y1),
        ("cube root", libm::cbrt),
        ("cosine", libm::cos),
    ];

    #[kernel]
    pub fn tabulate(function: u32, x: &[f64], mut y: PerThread<f64>) {
        let (_, function) = FUNCTIONS[function as usize];
        for (i, y) in y.iter_mut() {
            *y = function(x[i]);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 22, cpu: 1 << 16 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let x: Vec<f64> = (0..n).map(|i| 0.01 + 20.0 * i as f64 / n as f64).collect();
    let x_device = stream.upload(&x)?;
    let mut y = stream.zeros::<f64>(n)?;
    for (number, (name, function)) in kernels::FUNCTIONS.iter().enumerate() {
        let ms = median_ms(&stream, || {
            let call = kernels::tabulate(number as u32, &x_device, &mut y);
            stream.launch(Grid::cover(n, 128), call)?;
            Ok(())
        })?;
        let found: Vec<u64> = y.to_vec()?.into_iter().map(f64::to_bits).collect();
        let expected: Vec<u64> = x.iter().map(|&x| function(x).to_bits()).collect();
        expect_equal(name, &found, &expected)?;
        print_rate(name, ms, n as f64 / (ms * 1e3), "million/s");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_bit_is_the_hosts() {
        raddle_examples::on_every_device(&[1, 2000], super::run);
    }
}
