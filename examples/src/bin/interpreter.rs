//! An interpreter in a kernel: enums that carry data, function pointers, `match`, `?`,
//! `TryFrom`.
//!
//! Each thread evaluates an expression that is not known before the program runs, at a
//! point of its own. The interpreter is a function that the host can call as well, and
//! does, to compare.
//!
//! ```text
//! cargo run --release -p raddle-examples --bin interpreter
//! ```

use std::process::ExitCode;

use kernels::Token;
use raddle::prelude::*;
use raddle_examples::{Outcome, Sizes, expect_equal, median_ms, on_best_device, print_rate};

mod kernels {
    use raddle::prelude::*;

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

    /// The expression's value at each `x`.
    #[kernel]
    pub fn plot(program: &[Token], x: &[f32], mut y: PerThread<f32>) {
        for (i, y) in y.iter_mut() {
            *y = evaluate(program, x[i]).expect("the expression is valid");
        }
    }
}

fn main() -> ExitCode {
    on_best_device(Sizes { gpu: 1 << 24, cpu: 1 << 16 }, run)
}

/// Evaluates `max(x * x - 0.25, 0.5 * x)` at `n` points.
fn run(device: &Device, n: usize) -> Outcome {
    let stream = device.stream()?;
    let program = tokens("x x * -0.25 + 0.5 x * >");
    let x: Vec<f32> = (0..n).map(|i| i as f32 / n as f32 * 2.0 - 1.0).collect();
    let (program_device, x_device) = (stream.upload(&program)?, stream.upload(&x)?);
    let mut y = stream.zeros::<f32>(n)?;
    let grid = Grid::cover(n, 256);
    stream.launch(grid, kernels::plot(&program_device, &x_device, &mut y))?;
    let expected: Vec<f32> = x.iter().map(|x| (x * x - 0.25).max(0.5 * x)).collect();
    expect_equal("expression", &y.to_vec()?, &expected)?;
    let on_host = kernels::evaluate(&program, x[n / 3]).ok();
    expect_equal("expression on the host", &[on_host], &[Some(expected[n / 3])])?;

    let ms = median_ms(&stream, || {
        stream.launch(grid, kernels::plot(&program_device, &x_device, &mut y))?;
        Ok(())
    })?;
    let steps = (n * program.len()) as f64;
    print_rate("steps of an expression", ms, steps / (ms * 1e6), "billion/s");
    Ok(())
}

/// An expression in postfix order; `>` is the larger of two.
fn tokens(text: &str) -> Vec<Token> {
    let token = |word: &str| match word.parse() {
        Ok(number) => Token { code: b'#', number },
        Err(_) => Token { code: word.as_bytes()[0], number: 0.0 },
    };
    text.split_whitespace().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_has_the_values_of_its_formula() {
        raddle_examples::on_every_device(&[64, 3000], run);
    }

    #[test]
    fn an_expression_that_is_none_panics() {
        let stream = Device::cpu().stream().expect("the CPU device has streams");
        for (text, reason) in [("x +", "Stack"), ("x ?", "Code"), ("", "Stack")] {
            let mut y = stream.zeros::<f32>(1).expect("one element");
            let program = stream.upload(&tokens(text)).expect("a short one");
            let x = stream.upload(&[1.0f32]).expect("one element");
            let launch = stream.launch(Grid::new(1, 1), kernels::plot(&program, &x, &mut y));
            let error = launch.and_then(|_| stream.synchronize()).expect_err("a panic");
            assert!(error.to_string().contains(reason), "`{text}`: {error}");
        }
    }
}
