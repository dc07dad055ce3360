//! Shapes of tensors: asking for them and changing them without moving an element.

use crate::DTypeRule::{Is, Like};
use crate::Kind::{Int, Ints};
use crate::infer::rules;
use crate::{
    DType, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, movement, one, op, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Reshape", 5..=LATEST)
        .inputs(2, 2)
        .attributes(&[("allowzero", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::reshape)
        .elements(rules::same)
        .view()
        .run(reshape),
    op("Flatten", 1..=LATEST)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::flatten)
        .view()
        .run(flatten),
    op("Squeeze", 1..=LATEST)
        .inputs(1, 2)
        .attributes(&[("axes", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::squeeze)
        .elements(rules::same)
        .view()
        .run(squeeze),
    op("Unsqueeze", 1..=LATEST)
        .inputs(1, 2)
        .attributes(&[("axes", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::unsqueeze)
        .elements(rules::same)
        .view()
        .run(unsqueeze),
    op("Transpose", 1..=LATEST)
        .attributes(&[("perm", Ints)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::transpose)
        .run(transpose),
    op("Shape", 1..=LATEST)
        .attributes(&[("start", Int), ("end", Int)])
        .result(Is(DType::I64), ShapeRule::Computed)
        .dims(rules::shape_of)
        .elements(rules::shape_elements)
        .run(shape_of),
    op("Size", 1..=LATEST)
        .result(Is(DType::I64), ShapeRule::Computed)
        .dims(rules::scalar)
        .elements(rules::total)
        .run(|ctx| Ok(vec![Tensor::scalar(ctx.tensor(0)?.len() as i64).into()])),
    op("Expand", 8..=LATEST)
        .inputs(2, 2)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::expand)
        .elements(rules::constant_fill)
        .run(expand),
];

/// 0 keeps a dimension, -1 stands for what is left.
fn reshape(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let allows_zero = ctx.flag("allowzero", false)?;
    let wanted = ctx.i64s(1)?;
    let x = ctx.take_tensor(0)?;
    let mut target = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, &dim) in wanted.iter().enumerate() {
        target.push(match dim {
            -1 if open.replace(axis).is_none() => 1,
            0 if !allows_zero => *x.shape().get(axis).ok_or_else(|| {
                Error::invalid(format!(
                    "dimension {axis} of {wanted:?} keeps one that is not there"
                ))
            })?,
            dim => usize::try_from(dim)
                .map_err(|_| Error::invalid(format!("{wanted:?} is no shape")))?,
        });
    }
    if let Some(axis) = open {
        let rest = shape::element_count(&target, x.dtype())?;
        if rest == 0 || x.len() % rest != 0 {
            return Err(Error::ElementCount { shape: target, expected: rest, found: x.len() });
        }
        target[axis] = x.len() / rest;
    }
    one(x.reshape(&target))
}

fn flatten(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.take_tensor(0)?;
    let axis = ctx.int("axis", 1)?;
    // The axis may lie behind the last dimension.
    let at = if axis == x.rank() as i64 { x.rank() } else { shape::axis(axis, x.rank())? };
    let (outer, inner) = x.shape().split_at(at);
    let target = [outer.iter().product(), inner.iter().product()];
    one(x.reshape(&target))
}

fn squeeze(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let axes = ctx.ints_or_input("axes", 1)?;
    let x = ctx.take_tensor(0)?;
    let axes = match axes {
        Some(axes) => shape::axes(&axes, x.rank())?,
        None => (0..x.rank()).filter(|&axis| x.shape()[axis] == 1).collect(),
    };
    if let Some(axis) = axes.iter().find(|&&axis| x.shape()[axis] != 1) {
        return Err(Error::invalid(format!("dimension {axis} of {:?} is not 1", x.shape())));
    }
    let kept = x.shape().iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    let target: Vec<usize> = kept.map(|(_, &dim)| dim).collect();
    one(x.reshape(&target))
}

fn unsqueeze(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let axes = ctx.ints_or_input("axes", 1)?.ok_or(Error::MissingInput { index: 1 })?;
    let x = ctx.take_tensor(0)?;
    let rank = x.rank() + axes.len();
    let axes = shape::axes(&axes, rank)?;
    let mut old = x.shape().iter();
    let dim = |axis| if axes.contains(&axis) { Some(1) } else { old.next().copied() };
    let target: Vec<usize> = (0..rank).filter_map(dim).collect();
    one(x.reshape(&target))
}

fn transpose(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let order = match ctx.ints("perm")? {
        Some(order) => shape::axes(order, x.rank())?,
        None => (0..x.rank()).rev().collect(),
    };
    if order.len() != x.rank() {
        let why = format!("must list {} dimensions, found {}", x.rank(), order.len());
        return Err(ctx.bad_attribute("perm", why));
    }
    one(movement::transpose(x, &order))
}

fn shape_of(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let rank = x.rank() as i64;
    let clamp =
        |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (clamp(ctx.int("start", 0)?), clamp(ctx.int("end", rank)?));
    let part = x.shape().get(start..end).unwrap_or_default();
    Ok(vec![Tensor::vector(part.iter().map(|&dim| dim as i64).collect()).into()])
}

fn expand(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let target = shape::broadcast(x.shape(), &shape::dims(&ctx.i64s(1)?)?)?;
    shape::element_count(&target, x.dtype())?;
    one(movement::expand(x, &target))
}
