//! Operations that put elements elsewhere: joining, cutting, gathering, repeating.

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Int, Ints};
use crate::infer::rules;
use crate::movement::{View, concat, gather_runs, gather_view, slice};
use crate::{Error, LATEST, MANY, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, shape};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Concat", 4..=LATEST)
        .inputs(1, MANY)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::concat)
        .elements(rules::joined)
        .run(join),
    op("Split", 2..=LATEST)
        .inputs(1, 2)
        .outputs(1, MANY)
        .attributes(&[("axis", Int), ("num_outputs", Int), ("split", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::split)
        .run(split),
    op("Slice", 1..=LATEST)
        .inputs(1, 5)
        .attributes(&[("axes", Ints), ("ends", Ints), ("starts", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::slice)
        .elements(rules::sliced)
        .run(cut),
    op("Gather", 1..=LATEST)
        .inputs(2, 2)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::gather)
        .elements(rules::gathered)
        .run(gather),
    op("Tile", 6..=LATEST)
        .inputs(2, 2)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::tile)
        .run(tile),
];

fn join(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let parts = ctx.tensors()?;
    let axis = ctx.optional_int("axis")?.ok_or_else(|| ctx.bad_attribute("axis", "is required"))?;
    let axis = shape::axis(axis, parts[0].rank())?;
    one(concat(&parts, axis))
}

fn split(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let axis = ctx.axis("axis", 0, x.rank())?;
    let len = x.shape()[axis];
    let count = match ctx.optional_int("num_outputs")? {
        Some(count) if count == ctx.output_count() as i64 => ctx.output_count(),
        Some(count) => {
            let why = format!("is {count}, but the node has {} outputs", ctx.output_count());
            return Err(ctx.bad_attribute("num_outputs", why));
        }
        None => ctx.output_count(),
    };
    let lens = match ctx.ints_or_input("split", 1)? {
        Some(lens) => shape::dims(&lens)?,
        None => {
            // Equal parts, the last one smaller.
            let part = len.div_ceil(count);
            (0..count).map(|at| len.saturating_sub(at * part).min(part)).collect()
        }
    };
    let sum = lens.iter().try_fold(0usize, |sum, &len| sum.checked_add(len));
    if sum != Some(len) || lens.len() != count {
        return Err(Error::invalid(format!("parts of {lens:?} do not make a dimension of {len}")));
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(count);
    for len in lens {
        parts.push(slice(x, axis, start, len)?.into());
        start += len;
    }
    Ok(parts)
}

/// Starts, ends, axes and steps are attributes up to opset 9 and inputs since.
fn cut(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let missing = || Error::MissingInput { index: 1 };
    let starts = ctx.ints_or_input("starts", 1)?.ok_or_else(missing)?;
    let ends = ctx.ints_or_input("ends", 2)?.ok_or_else(missing)?;
    let axes = match ctx.ints_or_input("axes", 3)? {
        Some(axes) => shape::axes(&axes, x.rank())?,
        None => (0..starts.len()).collect(),
    };
    let steps = ctx.optional_i64s(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err(Error::invalid("starts, ends, axes and steps differ in length"));
    }
    let mut view = View::of(x.shape());
    for (at, &axis) in axes.iter().enumerate() {
        let len = *x.shape().get(axis).ok_or(Error::Axis { axis: axis as i64, rank: x.rank() })?;
        let (start, count) = span(starts[at], ends[at], steps[at], len)?;
        view.offset += start as isize * view.strides[axis];
        // A step that leads out of the dimension is never taken.
        view.strides[axis] = view.strides[axis].saturating_mul(steps[at] as isize);
        view.shape[axis] = count;
        if count <= 1 {
            view.strides[axis] = 0;
        }
    }
    one(gather_view(x, &view))
}

/// First element and number of elements of a slice, clamped as in numpy.
fn span(start: i64, end: i64, step: i64, len: usize) -> Result<(usize, usize)> {
    let len = len as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (low, high) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let (start, end) = (from_start(start).clamp(low, high), from_start(end).clamp(low, high));
    let room = match step {
        0 => return Err(Error::invalid("a step of a slice is 0")),
        1.. => end - start,
        _ => start - end,
    };
    let count = if room <= 0 { 0 } else { (room as u64).div_ceil(step.unsigned_abs()) };
    Ok((start.max(0) as usize, count as usize))
}

/// Slices along an axis at the places that the indices name.
fn gather(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let axis = ctx.axis("axis", 0, x.rank())?;
    let len = x.shape()[axis];
    let places: Vec<usize> =
        indices.to_i64s()?.iter().map(|&at| shape::index(at, len)).collect::<Result<_>>()?;
    let mut target = x.shape()[..axis].to_vec();
    target.extend(indices.shape());
    target.extend(&x.shape()[axis + 1..]);
    shape::element_count(&target, x.dtype())?;
    let outer: usize = x.shape()[..axis].iter().product();
    let run_len = x.shape()[axis + 1..].iter().product();
    let starts: Vec<usize> =
        (0..outer).flat_map(|row| places.iter().map(move |at| row * len + at)).collect();
    one(gather_runs(x, &target, &starts, run_len))
}

/// Each dimension repeated as often as the second input says.
fn tile(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let repeats = shape::dims(&ctx.i64s(1)?)?;
    if repeats.len() != x.rank() {
        return Err(unsupported(1, ctx.tensor(1)?.dtype(), "one number for each dimension"));
    }
    // Seen as [repeat, dim, repeat, dim, …] with a stride of 0 along repeats.
    let whole = View::of(x.shape());
    let mut view = View { offset: 0, shape: Vec::new(), strides: Vec::new() };
    let mut target = Vec::new();
    for (axis, &repeat) in repeats.iter().enumerate() {
        let dim = x.shape()[axis];
        view.shape.extend([repeat, dim]);
        view.strides.extend([0, whole.strides[axis]]);
        target.push(repeat.saturating_mul(dim));
    }
    shape::element_count(&target, x.dtype())?;
    one(gather_view(x, &view).and_then(|tiled: Tensor| tiled.reshape(&target)))
}
