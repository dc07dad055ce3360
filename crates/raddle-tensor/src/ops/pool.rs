//! Pooling: the largest, the mean or the norm of what a window covers.

use super::elementwise::unsupported;
use super::window::{Window, coordinates};
use crate::DTypeRule::Like;
use crate::Kind::{Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::{dims, element_count};
use crate::{
    Class, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("MaxPool", 1..=LATEST)
        .outputs(1, 2)
        .attributes(&[
            ("auto_pad", Text),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("storage_order", Int),
            ("strides", Ints),
        ])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::max_pool)
        .run(max_pool),
    op("AveragePool", 1..=LATEST)
        .attributes(&[
            ("auto_pad", Text),
            ("ceil_mode", Int),
            ("count_include_pad", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pool)
        .run(average_pool),
    op("LpPool", 2..=LATEST)
        .attributes(&[
            ("auto_pad", Text),
            ("ceil_mode", Int),
            ("dilations", Ints),
            ("kernel_shape", Ints),
            ("p", Int),
            ("pads", Ints),
            ("strides", Ints),
        ])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::pool)
        .run(lp_pool),
    op("GlobalAveragePool", 1..=LATEST)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::global_pool)
        .run(|ctx| global(ctx, &|plane| plane.iter().sum::<f64>() / plane.len() as f64)),
    op("GlobalMaxPool", 1..=LATEST)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::global_pool)
        .run(|ctx| global(ctx, &|plane| plane.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
    op("GlobalLpPool", 2..=LATEST)
        .attributes(&[("p", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::global_pool)
        .run(|ctx| {
            let p = ctx.int("p", 2)? as f64;
            let norm = move |plane: &[f64]| {
                plane.iter().map(|x| x.abs().powf(p)).sum::<f64>().powf(p.recip())
            };
            global(ctx, &norm)
        }),
];

/// The window of a pooling node and the shape of its output.
fn window(ctx: &OpContext<'_>, x: &Tensor) -> Result<(Window, Vec<usize>)> {
    let kernel = ctx.ints("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| ctx.bad_attribute("kernel_shape", "is required"))?;
    if x.rank() < 3 {
        return Err(Error::invalid(format!("pooling needs rank 3 or more, found {:?}", x.shape())));
    }
    let window = Window::new(ctx, &dims(kernel)?, &x.shape()[2..])?;
    let mut shape = x.shape()[..2].to_vec();
    shape.extend(&window.output);
    Ok((window, shape))
}

fn max_pool(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    match x.dtype().class() {
        Class::F32 if x.rank() == 4 && !ctx.wants(1) => max_pool_image(ctx, x),
        Class::F32 => max_pool_in::<f32>(ctx, x),
        Class::F64 => max_pool_in::<f64>(ctx, x),
        Class::I64 => max_pool_in::<i64>(ctx, x),
        Class::U64 => max_pool_in::<u64>(ctx, x),
        _ => Err(unsupported(0, x.dtype(), "a number")),
    }
}

/// Two dimensions without indices: first the largest of whole rows, then of the
/// columns in the window, for SIMD.
fn max_pool_image(ctx: &OpContext<'_>, x: &Tensor) -> Result<Vec<Value>> {
    let (window, shape) = window(ctx, x)?;
    let (input_len, width) = (window.input_len(), window.input[1]);
    let elements = f32::widen(x)?;
    let mut out = vec![f32::NEG_INFINITY; element_count(&shape, x.dtype())?];
    let arch = pulp::Arch::new();
    parallel::parts(&mut out, window.output_len().max(1), &|plane, out| {
        let plane = &elements[plane * input_len..(plane + 1) * input_len];
        arch.dispatch(|| {
            let mut largest = vec![f32::NEG_INFINITY; width];
            for (y, line) in out.chunks_mut(window.output[1]).enumerate() {
                largest.fill(f32::NEG_INFINITY);
                let rows = (0..window.kernel[0]).filter_map(|tap| window.coordinate(0, y, tap));
                for row in rows {
                    raise(&mut largest, &plane[row * width..(row + 1) * width]);
                }
                for tap in 0..window.kernel[1] {
                    let (inside, from) = window.line(tap);
                    let from = &largest[from.min(width)..];
                    match window.strides[1] {
                        1 => raise(&mut line[inside], from),
                        2 => raise_by(&mut line[inside], from.as_chunks::<2>().0, from.last()),
                        step => {
                            let from = from.iter().step_by(step);
                            line[inside]
                                .iter_mut()
                                .zip(from)
                                .for_each(|(x, y)| *x = larger(*x, *y));
                        }
                    }
                }
            }
        });
    });
    one(Tensor::computed(&shape, x.dtype(), out))
}

/// The larger number; a NaN stays once it is found.
#[inline(always)]
fn larger(x: f32, value: f32) -> f32 {
    if (value > x) | value.is_nan() { value } else { x }
}

#[inline(always)]
fn raise(line: &mut [f32], from: &[f32]) {
    line.iter_mut().zip(from).for_each(|(x, value)| *x = larger(*x, *value));
}

/// Every second element; the last may have no other behind it.
#[inline(always)]
fn raise_by(line: &mut [f32], pairs: &[[f32; 2]], last: Option<&f32>) {
    line.iter_mut().zip(pairs).for_each(|(x, [value, _])| *x = larger(*x, *value));
    if let (Some(x), Some(last)) = (line.get_mut(pairs.len()), last) {
        *x = larger(*x, *last);
    }
}

fn max_pool_in<T: Compute>(ctx: &OpContext<'_>, x: &Tensor) -> Result<Vec<Value>> {
    let (window, shape) = window(ctx, x)?;
    let (input_len, positions) = (window.input_len(), window.output_len());
    let elements = T::widen(x)?;
    let taps = window.taps();
    // Index in its plane of each position's largest element.
    let mut best = vec![0usize; element_count(&shape, x.dtype())?];
    parallel::parts(&mut best, positions, &|plane, best| {
        let plane = &elements[plane * input_len..(plane + 1) * input_len];
        for (position, best) in best.iter_mut().enumerate() {
            let mut found: Option<usize> = None;
            taps.visit(position, |index| {
                if found.is_none_or(|found| plane[index] > plane[found]) {
                    found = Some(index);
                }
            });
            *best = found.unwrap_or(0);
        }
    });
    let plane_of = |at: usize| at / positions * input_len;
    let largest = best.iter().enumerate().map(|(at, &index)| elements[plane_of(at) + index]);
    let mut outputs = vec![Tensor::computed(&shape, x.dtype(), largest.collect())?.into()];
    if ctx.wants(1) {
        let is_column_major = ctx.flag("storage_order", false)?;
        let numbered = best.iter().enumerate().map(|(at, &index)| {
            let index = if is_column_major { column_major(index, &window.input) } else { index };
            (plane_of(at) + index) as i64
        });
        outputs.push(Tensor::new(&shape, numbered.collect())?.into());
    }
    Ok(outputs)
}

/// A row-major index counted with the first dimension fastest.
fn column_major(index: usize, shape: &[usize]) -> usize {
    let at = coordinates(index, shape);
    at.iter().zip(shape).rev().fold(0, |sum, (&at, &dim)| sum * dim + at)
}

/// Reduces what the window covers at each position, in `f64`.
fn pool(
    x: &Tensor,
    window: &Window,
    shape: &[usize],
    reduce: &(dyn Fn(&[f64], usize) -> f64 + Sync),
) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let (input_len, positions) = (window.input_len(), window.output_len());
    let elements = f64::widen(x)?;
    let taps = window.taps();
    let mut out = vec![0f64; element_count(shape, x.dtype())?];
    parallel::parts(&mut out, positions, &|plane, out| {
        let plane = &elements[plane * input_len..(plane + 1) * input_len];
        let mut covered = Vec::with_capacity(window.kernel_len());
        for (position, out) in out.iter_mut().enumerate() {
            covered.clear();
            taps.visit(position, |index| covered.push(plane[index]));
            *out = reduce(&covered, position);
        }
    });
    Tensor::computed(shape, x.dtype(), out)
}

fn average_pool(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let includes_padding = ctx.flag("count_include_pad", false)?;
    let x = ctx.tensor(0)?;
    let (window, shape) = window(ctx, x)?;
    let mean = |covered: &[f64], position: usize| {
        let count = if includes_padding { padded_count(&window, position) } else { covered.len() };
        covered.iter().sum::<f64>() / count as f64
    };
    one(pool(x, &window, &shape, &mean))
}

/// Taps at a position that lie in the input or its padding, but not beyond.
fn padded_count(window: &Window, position: usize) -> usize {
    let at = coordinates(position, &window.output);
    let taps = |axis: usize| {
        let end = window.begins[axis] + window.input[axis] + window.ends[axis];
        let inside =
            |tap: &usize| at[axis] * window.strides[axis] + tap * window.dilations[axis] < end;
        (0..window.kernel[axis]).filter(inside).count()
    };
    (0..at.len()).map(taps).product()
}

fn lp_pool(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let p = ctx.int("p", 2)? as f64;
    let x = ctx.tensor(0)?;
    let (window, shape) = window(ctx, x)?;
    let norm =
        |covered: &[f64], _| covered.iter().map(|x| x.abs().powf(p)).sum::<f64>().powf(p.recip());
    one(pool(x, &window, &shape, &norm))
}

/// Reduces each plane behind batch and channel to one number.
fn global(ctx: &OpContext<'_>, reduce: &(dyn Fn(&[f64]) -> f64 + Sync)) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if x.rank() < 3 || !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float with spatial dimensions"));
    }
    let mut shape = x.shape().to_vec();
    shape[2..].fill(1);
    let plane_len: usize = x.shape()[2..].iter().product();
    let elements = f64::widen(x)?;
    let planes = elements.chunks(plane_len.max(1)).map(reduce).collect();
    one(Tensor::computed::<f64>(&shape, x.dtype(), planes))
}
