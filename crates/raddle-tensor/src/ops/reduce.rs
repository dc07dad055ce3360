//! Reductions over axes: sums, means, norms, extrema and their places.

use std::cmp::Ordering;

use super::elementwise::unsupported;
use crate::DTypeRule::{Is, Like};
use crate::Kind::{Int, Ints};
use crate::convert::Compute;
use crate::infer::rules;
use crate::{
    Class, DType, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, movement, one, op,
    parallel, shape,
};

/// A reduction of one line of elements.
type Reduction = fn(&[f64]) -> f64;

const fn reduction(name: &'static str) -> Op {
    op(name, 1..=LATEST)
        .inputs(1, 2)
        .attributes(&[("axes", Ints), ("keepdims", Int), ("noop_with_empty_axes", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::reduction)
}

const fn place(name: &'static str) -> Op {
    op(name, 1..=LATEST)
        .attributes(&[("axis", Int), ("keepdims", Int), ("select_last_index", Int)])
        .result(Is(DType::I64), ShapeRule::Computed)
        .dims(rules::arg)
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    reduction("ReduceSum").run(|ctx| reduce(ctx, sum, |line| wrapping_sum(line.iter().copied()))),
    reduction("ReduceMean").run(|ctx| {
        let mean = |line: &[i128]| line.iter().sum::<i128>() / (line.len() as i128).max(1);
        reduce(ctx, |line| sum(line) / line.len() as f64, mean)
    }),
    reduction("ReduceProd").elements(rules::product_of_axis).run(|ctx| {
        let product = |line: &[i128]| line.iter().fold(1, |p: i128, x| p.wrapping_mul(*x));
        reduce(ctx, |line| line.iter().product(), product)
    }),
    reduction("ReduceMax").run(|ctx| extremum(ctx, true)),
    reduction("ReduceMin").run(|ctx| extremum(ctx, false)),
    reduction("ReduceSumSquare").run(|ctx| {
        let squares = |line: &[i128]| wrapping_sum(line.iter().map(|x| x.wrapping_mul(*x)));
        reduce(ctx, |line| line.iter().map(|x| x * x).sum(), squares)
    }),
    reduction("ReduceL1").run(|ctx| {
        let sum = |line: &[i128]| line.iter().map(|x| x.abs()).sum();
        reduce(ctx, |line| line.iter().map(|x| x.abs()).sum(), sum)
    }),
    reduction("ReduceL2").run(|ctx| {
        let norm = |line: &[i128]| {
            (wrapping_sum(line.iter().map(|x| x.wrapping_mul(*x))) as f64).sqrt() as i128
        };
        reduce(ctx, |line| line.iter().map(|x| x * x).sum::<f64>().sqrt(), norm)
    }),
    reduction("ReduceLogSum").run(|ctx| {
        let log = |line: &[i128]| (line.iter().sum::<i128>() as f64).ln() as i128;
        reduce(ctx, |line| sum(line).ln(), log)
    }),
    reduction("ReduceLogSumExp").run(|ctx| {
        let log = |line: &[i128]| {
            log_sum_exp(&line.iter().map(|&x| x as f64).collect::<Vec<_>>()) as i128
        };
        reduce(ctx, log_sum_exp, log)
    }),
    place("ArgMax").run(|ctx| arg(ctx, Ordering::Greater)),
    place("ArgMin").run(|ctx| arg(ctx, Ordering::Less)),
];

/// Integer results are the low bits of the exact ones.
fn wrapping_sum(terms: impl Iterator<Item = i128>) -> i128 {
    terms.fold(0, i128::wrapping_add)
}

fn sum(line: &[f64]) -> f64 {
    line.iter().sum()
}

fn log_sum_exp(line: &[f64]) -> f64 {
    let largest = line.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    line.iter().map(|x| (x - largest).exp()).sum::<f64>().ln() + largest
}

/// The input with reduced axes last, the length of a line and the output's shape.
struct Lines {
    moved: Tensor,
    line_len: usize,
    shape: Vec<usize>,
}

/// `None` if nothing is to be reduced.
fn lines(ctx: &OpContext<'_>) -> Result<Option<Lines>> {
    let x = ctx.tensor(0)?;
    let axes = ctx.ints_or_input("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && ctx.flag("noop_with_empty_axes", false)? {
        return Ok(None);
    }
    let axes = match axes.is_empty() {
        true => (0..x.rank()).collect(),
        false => shape::axes(&axes, x.rank())?,
    };
    arrange(x, &axes, ctx.flag("keepdims", true)?).map(Some)
}

fn arrange(x: &Tensor, axes: &[usize], keeps: bool) -> Result<Lines> {
    let (reduced, kept): (Vec<usize>, Vec<usize>) =
        (0..x.rank()).partition(|axis| axes.contains(axis));
    let dim = |axis: usize| if axes.contains(&axis) { 1 } else { x.shape()[axis] };
    let shape = match keeps {
        true => (0..x.rank()).map(dim).collect(),
        false => kept.iter().map(|&axis| dim(axis)).collect(),
    };
    let line_len = reduced.iter().map(|&axis| x.shape()[axis]).product();
    let order: Vec<usize> = kept.into_iter().chain(reduced).collect();
    Ok(Lines { moved: movement::transpose(x, &order)?, line_len, shape })
}

/// Applies a function to every line.
fn each<T: Sync, R: Clone + Default + Send>(
    elements: &[T],
    lines: &Lines,
    function: &(dyn Fn(&[T]) -> R + Sync),
) -> Vec<R> {
    let mut out = vec![R::default(); lines.shape.iter().product()];
    let len = lines.line_len;
    parallel::rows(&mut out, 1, &|at, _, piece| {
        piece[0] = function(&elements[at * len..(at + 1) * len]);
    });
    out
}

/// Floats are reduced in `f64`, integers without loss.
fn reduce(
    ctx: &mut OpContext<'_>,
    float: Reduction,
    integer: fn(&[i128]) -> i128,
) -> Result<Vec<Value>> {
    let Some(lines) = lines(ctx)? else { return Ok(vec![ctx.take(0)?]) };
    let x = &lines.moved;
    one(match x.dtype().class() {
        Class::F32 | Class::F64 => {
            Tensor::computed(&lines.shape, x.dtype(), each(&f64::widen(x)?, &lines, &float))
        }
        Class::I64 => {
            let wide: Vec<i128> = i64::widen(x)?.iter().map(|&x| x.into()).collect();
            let out = each(&wide, &lines, &integer);
            Tensor::computed(&lines.shape, x.dtype(), out.iter().map(|&x| x as i64).collect())
        }
        Class::U64 => {
            let wide: Vec<i128> = u64::widen(x)?.iter().map(|&x| x.into()).collect();
            let out = each(&wide, &lines, &integer);
            Tensor::computed(&lines.shape, x.dtype(), out.iter().map(|&x| x as u64).collect())
        }
        Class::Bool | Class::String | Class::Complex => {
            return Err(unsupported(0, x.dtype(), "a number"));
        }
    })
}

/// The largest or smallest element; of no elements, the type's own limit.
fn extremum(ctx: &mut OpContext<'_>, is_max: bool) -> Result<Vec<Value>> {
    let Some(lines) = lines(ctx)? else { return Ok(vec![ctx.take(0)?]) };
    let (x, dtype) = (&lines.moved, lines.moved.dtype());
    let bits = dtype.bits() as u32;
    one(match dtype.class() {
        Class::F32 | Class::F64 => {
            let pick: Reduction = if is_max {
                |line| {
                    line.iter()
                        .fold(f64::NEG_INFINITY, |a, &b| if a > b || a.is_nan() { a } else { b })
                }
            } else {
                |line| {
                    line.iter().fold(f64::INFINITY, |a, &b| if a < b || a.is_nan() { a } else { b })
                }
            };
            Tensor::computed(&lines.shape, dtype, each(&f64::widen(x)?, &lines, &pick))
        }
        Class::I64 => {
            let (low, high) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
            let pick = move |line: &[i64]| match is_max {
                true => line.iter().copied().max().unwrap_or(low),
                false => line.iter().copied().min().unwrap_or(high),
            };
            Tensor::computed(&lines.shape, dtype, each(&i64::widen(x)?, &lines, &pick))
        }
        Class::U64 | Class::Bool => {
            let high = if dtype == DType::Bool { 1 } else { u64::MAX >> (64 - bits) };
            let pick = move |line: &[u64]| match is_max {
                true => line.iter().copied().max().unwrap_or(0),
                false => line.iter().copied().min().unwrap_or(high),
            };
            Tensor::computed(&lines.shape, dtype, each(&u64::widen(x)?, &lines, &pick))
        }
        Class::String | Class::Complex => return Err(unsupported(0, dtype, "a number or bool")),
    })
}

/// The place of the first or last element that none is better than.
fn arg(ctx: &mut OpContext<'_>, wanted: Ordering) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let axis = ctx.axis("axis", 0, x.rank())?;
    let takes_last = ctx.flag("select_last_index", false)?;
    let lines = arrange(x, &[axis], ctx.flag("keepdims", true)?)?;
    if lines.line_len == 0 {
        return Err(crate::Error::invalid("the axis has no elements to choose from"));
    }
    one(match x.dtype().class() {
        Class::F32 => places::<f32>(&lines, wanted, takes_last),
        Class::F64 => places::<f64>(&lines, wanted, takes_last),
        Class::I64 => places::<i64>(&lines, wanted, takes_last),
        Class::U64 => places::<u64>(&lines, wanted, takes_last),
        Class::Bool | Class::String | Class::Complex => Err(unsupported(0, x.dtype(), "a number")),
    })
}

fn places<T: Compute>(lines: &Lines, wanted: Ordering, takes_last: bool) -> Result<Tensor> {
    let pick = move |line: &[T]| {
        let mut best = 0;
        for (at, x) in line.iter().enumerate() {
            let order = x.partial_cmp(&line[best]);
            if order == Some(wanted) || (takes_last && order == Some(Ordering::Equal)) {
                best = at;
            }
        }
        best as i64
    };
    Tensor::new(&lines.shape, each(&T::widen(&lines.moved)?, lines, &pick))
}
