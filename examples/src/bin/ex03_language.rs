//! 03: the kernel language is Rust: generics, traits with constants, closures,
//! iterators, enums that carry data, `match`, `?`.
//!
//! Two programs. The first integrates curves: one generic kernel, compiled for each
//! curve, whose closures and iterators vanish in the process. The second evaluates
//! an expression that is not known before it runs, as an interpreter over an enum.
//! Both are functions that the host can call as well, and does, to compare.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin ex03_language
//! ```

use std::process::ExitCode;

use kernels::{Curve, Ellipse, Polynomial, Token};
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

    /// A step of an expression as it lies in memory, where layouts are fixed.
    #[repr(C)]
    #[derive(Clone, Copy, DeviceType)]
    pub struct Token {
        pub code: u8,
        pub number: f32,
    }

    /// A step of an expression in postfix order.
    enum Step {
        Number(f32),
        X,
        Apply(fn(f32, f32) -> f32),
    }

    impl TryFrom<Token> for Step {
        type Error = Invalid;
        fn try_from(token: Token) -> Result<Self, Invalid> {
            Ok(match token.code {
                b'#' => Self::Number(token.number),
                b'x' => Self::X,
                b'+' => Self::Apply(|a, b| a + b),
                b'*' => Self::Apply(|a, b| a * b),
                b'>' => Self::Apply(f32::max),
                _ => return Err(Invalid::Code),
            })
        }
    }

    /// Why an expression has no value.
    #[derive(Debug)]
    pub enum Invalid {
        /// A token that means nothing.
        Code,
        /// Too few numbers on the stack, or too many.
        Stack,
    }

    /// The expression's value at `x`.
    pub fn evaluate(program: &[Token], x: f32) -> Result<f32, Invalid> {
        let (mut stack, mut len) = ([0.0f32; 8], 0usize);
        for &token in program {
            let value = match token.try_into()? {
                Step::Number(number) => number,
                Step::X => x,
                Step::Apply(operator) => {
                    len = len.checked_sub(2).ok_or(Invalid::Stack)?;
                    operator(stack[len], stack[len + 1])
                }
            };
            *stack.get_mut(len).ok_or(Invalid::Stack)? = value;
            len += 1;
        }
        if len == 1 { Ok(stack[0]) } else { Err(Invalid::Stack) }
    }

    #[kernel]
    pub fn plot(program: &[Token], x: &[f32], mut y: PerThread<f32>) {
        for (i, y) in y.iter_mut() {
            *y = evaluate(program, x[i]).expect("the expression is valid");
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
    check_area("ellipse", ellipse, &parts.to_vec()?, std::f64::consts::PI / 4.0)?;

    // (x * x + -0.25) > 0.5 * x, in postfix order; `>` is the larger of two.
    let program: Vec<Token> = [
        ('x', 0.0),
        ('x', 0.0),
        ('*', 0.0),
        ('#', -0.25),
        ('+', 0.0),
        ('#', 0.5),
        ('x', 0.0),
        ('*', 0.0),
        ('>', 0.0),
    ]
    .map(|(code, number)| Token { code: code as u8, number })
    .to_vec();
    let x: Vec<f32> = (0..n).map(|i| i as f32 / n as f32 * 2.0 - 1.0).collect();
    let (program, x_device) = (stream.upload(&program)?, stream.upload(&x)?);
    let mut y = stream.zeros::<f32>(n)?;
    stream.launch(grid, kernels::plot(&program, &x_device, &mut y))?;
    let expected: Vec<f32> = x.iter().map(|x| (x * x - 0.25).max(0.5 * x)).collect();
    expect_equal("expression", &y.to_vec()?, &expected)
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
    fn curves_and_expressions_are_what_the_host_computes() {
        raddle_examples::on_every_device(&[64, 3000], super::run);
    }
}
