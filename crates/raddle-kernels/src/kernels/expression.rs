//! A list of steps, read and run by each thread: what kernels written at run time are
//! held against, and what runs in their place on the CPU device.
//!
//! A value is the bits of an element in memory, so that each step has the bits that the
//! kernels for a single operation give. Functions are called, not inlined: speed is not what
//! this is for, and one image with several copies of all operations takes LLVM minutes.

use raddle::prelude::*;

use super::pointwise::{Function, Operate, Operation};
use super::reduce::{Reduced, Reduction};
use super::scalar::{Scalar, bits, lowest, word};

/// Most steps.
pub const STEPS_MAX: usize = 48;
/// Words of a step in the list.
pub const STEP_WORDS: usize = 30;

/// A step as the list has it: numbers in [`STEP_WORDS`] words.
#[derive(Clone, Copy)]
struct Step<'p>(&'p [u64], usize);

impl Step<'_> {
    #[inline(always)]
    fn word(self, at: usize) -> u64 {
        self.0[self.1 * STEP_WORDS + at]
    }

    #[inline(always)]
    fn scalar(self) -> u32 {
        self.word(1) as u32
    }

    #[inline(always)]
    fn shift(self) -> u32 {
        Scalar::of(self.scalar()).shift()
    }
}

/// The step of a number, an element, a function in one of three classes, a reduction.
pub const KINDS: [u64; 4] = [0, 1, 2, 3];

#[inline(never)]
fn apply<W: Operate>(program: &[u64], step: Step<'_>, values: &[u64; STEPS_MAX]) -> u64 {
    let function = Function::of(step.word(3) as u32);
    let load = |at: usize| {
        let operand = step.word(7 + at) as usize;
        W::load(&[values[operand]], Step(program, operand).scalar(), 0)
    };
    let mut operands = [load(0), W::ZERO, W::ZERO];
    if function.arity() > 1 {
        operands[1] = load(1);
    }
    if function.arity() > 2 {
        operands[2] = load(2);
    }
    let operation = Operation {
        alpha: f64::from_bits(step.word(5)),
        beta: f64::from_bits(step.word(6)),
        function: step.word(3) as u32,
        is_unsigned: step.word(4) as u32,
        scalar: step.scalar(),
        padding: 0,
    };
    W::operate(&operation, operands).store(step.scalar())
}

/// Runs steps that reduce nothing, for an element.
#[inline(never)]
fn run(
    program: &[u64],
    count: usize,
    (element, row): (u32, u32),
    inputs: &[&[u64]; 8],
    values: &mut [u64; STEPS_MAX],
) {
    for at in 0..count {
        let step = Step(program, at);
        let kind = step.word(0);
        let value = if kind == KINDS[0] {
            step.word(5)
        } else if kind == KINDS[1] {
            let mut rest = if step.word(4) != 0 { row } else { element };
            let mut place = step.word(10) as i64;
            for axis in (0..step.word(11) as usize).rev() {
                let len = step.word(12 + axis) as u32;
                place += i64::from(rest % len) * step.word(21 + axis) as i64;
                rest /= len;
            }
            bits(inputs[step.word(2) as usize], step.shift(), place as usize)
        } else if kind == KINDS[2] {
            match step.word(2) {
                0 => apply::<f32>(program, step, values),
                1 => apply::<f64>(program, step, values),
                _ => apply::<i64>(program, step, values),
            }
        } else {
            continue;
        };
        values[at] = lowest(value, step.shift());
    }
}

/// Reduces a step over a row.
#[inline(never)]
fn reduce<W: Reduced>(
    program: &[u64],
    at: usize,
    (row, columns): (u32, u32),
    inputs: &[&[u64]; 8],
    values: &mut [u64; STEPS_MAX],
) -> u64 {
    let step = Step(program, at);
    let (reduction, operand) = (Reduction::of(step.word(2) as u32), step.word(7) as usize);
    let (scalar, is_unsigned) = (Step(program, operand).scalar(), step.word(4) != 0);
    let is_extreme = matches!(reduction, Reduction::Max | Reduction::Min);
    let mut result = match reduction {
        Reduction::Max => W::extreme(true, scalar),
        Reduction::Min => W::extreme(false, scalar),
        _ => W::ZERO,
    };
    for column in 0..columns {
        run(program, operand + 1, (row * columns + column, row), inputs, values);
        let x = W::load(&[values[operand]], scalar, 0);
        let wins = match reduction {
            Reduction::Max => x.is_more(result, is_unsigned),
            _ => x.is_less(result, is_unsigned),
        };
        if !is_extreme {
            result = result.plus(x.term(reduction, W::ZERO));
        } else if wins {
            result = x;
        }
    }
    let result = if is_extreme { result } else { result.finish(reduction, columns, W::ZERO) };
    result.store(step.scalar())
}

/// A word of the values of one step to each thread.
#[kernel(block = 128)]
pub fn expression(
    program: &[u64],
    numbers: [u32; 4],
    x0: &[u64],
    x1: &[u64],
    x2: &[u64],
    x3: &[u64],
    x4: &[u64],
    x5: &[u64],
    x6: &[u64],
    x7: &[u64],
    mut out: PerThread<u64>,
) {
    let [wanted, rows, columns, is_row] = numbers;
    let inputs = [x0, x1, x2, x3, x4, x5, x6, x7];
    let steps = program.len() / STEP_WORDS;
    let own = Step(program, wanted as usize);
    let len = if is_row != 0 { rows } else { rows * columns };
    let mut values = [0; STEPS_MAX];
    for (index, out) in out.iter_mut() {
        let mut ready = u32::MAX;
        *out = word(index, own.shift(), len, |at| {
            let (element, row) = if is_row != 0 { (at * columns, at) } else { (at, at / columns) };
            if ready != row {
                for at in 0..steps {
                    let step = Step(program, at);
                    if step.word(0) == KINDS[3] {
                        let operand = Step(program, step.word(7) as usize);
                        let is_float = Scalar::of(operand.scalar()).is_float();
                        let value = if is_float {
                            reduce::<f64>(program, at, (row, columns), &inputs, &mut values)
                        } else {
                            reduce::<i64>(program, at, (row, columns), &inputs, &mut values)
                        };
                        values[at] = lowest(value, step.shift());
                    }
                }
                ready = row;
            }
            run(program, steps, (element, row), &inputs, &mut values);
            values[wanted as usize]
        });
    }
}
