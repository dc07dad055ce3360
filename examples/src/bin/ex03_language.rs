//! 03: the kernel language is Rust: generics, traits with constants, closures,
//! iterators.
//!
//! One generic kernel integrates curves. It is compiled for each curve, and closures
//! and iterators vanish in the process. What it computes with are functions that the
//! host can call as well, and does, to compare. Enums that carry data, `match` and `?`
//! are in [`interpreter`](interpreter.rs).
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex03_language
//! ```

use std::process::ExitCode;

use kernels::{Curve, Ellipse, Polynomial};
use raddle::prelude::*;
use raddle_examples::{
    Outcome, Sizes, expect_equal, gflop_per_s, median_ms, on_best_device, print_rate,
};

mod kernels {
    use raddle::prelude::*;

    /// A function of one number.
    pub trait Curve: DeviceType {
        /// Intervals that Simpson's rule cuts a thread's part into.
        const INTERVALS: u32;
        /// Its value.
        fn at(&self, x: f32) -> f32;
    }

    /// `c0 + c1 x + c2 x² + …`
    #[repr(C)]
    #[derive(Clone, Copy, DeviceType)]
    pub struct Polynomial<const N: usize> {
        pub coefficients: [f32; N],
    }

    impl<const N: usize> Curve for Polynomial<N> {
        const INTERVALS: u32 = 4;
        fn at(&self, x: f32) -> f32 {
            self.coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
        }
    }

    /// The upper half of an ellipse.
    #[repr(C)]
    #[derive(Clone, Copy, DeviceType)]
    pub struct Ellipse {
        pub width: f32,
        pub height: f32,
    }

    impl Curve for Ellipse {
        const INTERVALS: u32 = 16;
        fn at(&self, x: f32) -> f32 {
            let t = x / self.width;
            self.height * (1.0 - t * t).max(0.0).sqrt()
        }
    }

    /// Simpson's rule.
    pub fn simpson(f: impl Fn(f32) -> f32, from: f32, to: f32, intervals: u32) -> f32 {
        let h = (to - from) / intervals as f32;
        let sum = (0..intervals)
            .map(|i| from + h * i as f32)
            .map(|x| f(x) + 4.0 * f(x + 0.5 * h) + f(x + h))
            .sum::<f32>();
        sum * h / 6.0
    }

    /// The integral over the `i`th of many parts of [-1, 1].
    pub fn part<C: Curve>(curve: &C, i: usize, parts: usize) -> f32 {
        let [from, to] = [i, i + 1].map(|i| 2.0 * i as f32 / parts as f32 - 1.0);
        simpson(|x| curve.at(x), from, to, C::INTERVALS)
    }

    /// Generic kernels name the instances to compile; another one is a compile
    /// error where it is launched.
    #[kernel(instances(Polynomial<3>, Ellipse))]
    pub fn integrate<C: Curve>(curve: C, mut parts: PerThread<f32>) {
        let count = parts.len();
        for (i, out) in parts.iter_mut() {
            *out = part(&curve, i, count);
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 26, cpu: 1 << 18 }, run)
}

fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let polynomial = Polynomial { coefficients: [1.0, -0.5, 3.0] };
    let ellipse = Ellipse { width: 1.0, height: 0.5 };
    let grid = Grid::cover(n, 256);
    let mut parts = stream.zeros::<f32>(n)?;

    stream.launch(grid, kernels::integrate(polynomial, &mut parts))?;
    check_area("polynomial", polynomial, &parts.to_vec()?, 4.0)?;
    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::integrate(polynomial, &mut parts))?;
        Ok(())
    })?;
    // Three points an interval, four operations in a polynomial of second degree,
    // and about six around them.
    let flops = n as f64 * f64::from(Polynomial::<3>::INTERVALS) * (3.0 * 4.0 + 6.0);
    print_rate("integrate a polynomial", ms, gflop_per_s(flops, ms), "GFLOP/s");
    stream.launch(grid, kernels::integrate(ellipse, &mut parts))?;
    check_area("ellipse", ellipse, &parts.to_vec()?, std::f64::consts::PI / 4.0)
}

/// Each part is, bit for bit, what the host computes with the same function, and
/// all of them together are the area that mathematics gives.
fn check_area<C: Curve>(what: &str, curve: C, parts: &[f32], area: f64) -> Outcome {
    let expected: Vec<f32> =
        (0..parts.len()).map(|i| kernels::part(&curve, i, parts.len())).collect();
    expect_equal(what, parts, &expected)?;
    let sum: f64 = parts.iter().copied().map(f64::from).sum();
    println!("area below the {what}: {sum:.6}, exactly {area:.6}");
    expect_equal(what, &[(sum - area).abs() < 1e-3], &[true])
}

#[cfg(test)]
mod tests {
    #[test]
    fn curves_are_what_the_host_computes() {
        raddle_examples::on_every_device(&[64, 3000], super::run);
    }
}
