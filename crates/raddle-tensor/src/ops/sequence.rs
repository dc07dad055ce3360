//! Sequences and optionals.

use std::sync::Arc;

use super::elementwise::unsupported;
use crate::Kind::{Graph, Int, Type};
use crate::graph::ValueType;
use crate::infer::rules;
use crate::movement::{concat, slice};
use crate::ops::control::stack;
use crate::{
    DType, Error, LATEST, MANY, Op, OpContext, Result, Sequence, Tensor, Value, one, op, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("SequenceEmpty", 11..=LATEST)
        .inputs(0, 0)
        .attributes(&[("dtype", Int)])
        .infer(rules::opaque)
        .run(empty),
    op("SequenceConstruct", 11..=LATEST).inputs(1, MANY).infer(rules::opaque).run(construct),
    op("SequenceInsert", 11..=LATEST).inputs(2, 3).infer(rules::opaque).run(insert),
    op("SequenceErase", 11..=LATEST).inputs(1, 2).infer(rules::opaque).run(erase),
    op("SequenceAt", 11..=LATEST).inputs(2, 2).infer(rules::opaque).run(at),
    op("SequenceLength", 11..=LATEST).infer(rules::single::<false>).run(length),
    op("ConcatFromSequence", 11..=LATEST)
        .attributes(&[("axis", Int), ("new_axis", Int)])
        .infer(rules::opaque)
        .run(concat_from),
    op("SplitToSequence", 11..=LATEST)
        .inputs(1, 2)
        .attributes(&[("axis", Int), ("keepdims", Int)])
        .infer(rules::opaque)
        .run(split_to),
    op("SequenceMap", 17..=LATEST)
        .inputs(1, MANY)
        .outputs(1, MANY)
        .attributes(&[("body", Graph)])
        .infer(rules::opaque)
        .run(map),
    op("Optional", 15..=LATEST)
        .inputs(0, 1)
        .attributes(&[("type", Type)])
        .infer(rules::opaque)
        .run(optional),
    op("OptionalHasElement", 15..=LATEST)
        .inputs(0, 1)
        .infer(rules::single::<true>)
        .run(has_element),
    op("OptionalGetElement", 15..=LATEST).infer(rules::unwrapped).run(get_element),
];

fn sequence(dtype: DType, items: Vec<Value>) -> Vec<Value> {
    vec![Value::Sequence(Sequence { dtype, items: Arc::new(items) })]
}

fn empty(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    Ok(sequence(ctx.dtype_attribute("dtype")?.unwrap_or(DType::F32), Vec::new()))
}

fn construct(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let dtype = ctx.tensor(0)?.dtype();
    if let Some(other) = ctx.tensors()?.into_iter().find(|tensor| tensor.dtype() != dtype) {
        return Err(unsupported(0, other.dtype(), dtype.name()));
    }
    let items = (0..ctx.input_count()).map(|at| ctx.take(at)).collect::<Result<_>>()?;
    Ok(sequence(dtype, items))
}

/// The sequence of input 0, taken out, and its items for writing.
fn take_items(ctx: &mut OpContext<'_>) -> Result<(DType, Vec<Value>)> {
    let dtype = ctx.sequence(0)?.dtype;
    let Value::Sequence(sequence) = ctx.take(0)? else { unreachable!("it was just looked at") };
    Ok((dtype, Arc::try_unwrap(sequence.items).unwrap_or_else(|shared| (*shared).clone())))
}

fn insert(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let position = if ctx.has(2) { Some(ctx.i64(2)?) } else { None };
    let found = ctx.tensor(1)?.dtype();
    let (mut dtype, mut items) = take_items(ctx)?;
    if items.is_empty() {
        dtype = found;
    } else if dtype != found {
        return Err(unsupported(1, found, dtype.name()));
    }
    let value = ctx.take(1)?;
    let place = match position {
        // One more place than items: behind the last.
        Some(position) if position >= 0 => shape::index(position, items.len() + 1)?,
        Some(position) => shape::index(position, items.len())?,
        None => items.len(),
    };
    items.insert(place, value);
    Ok(sequence(dtype, items))
}

fn erase(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let position = if ctx.has(1) { ctx.i64(1)? } else { -1 };
    let (dtype, mut items) = take_items(ctx)?;
    items.remove(shape::index(position, items.len())?);
    Ok(sequence(dtype, items))
}

fn at(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let items = &ctx.sequence(0)?.items;
    Ok(vec![items[shape::index(ctx.i64(1)?, items.len())?].clone()])
}

fn length(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    Ok(vec![Tensor::scalar(ctx.sequence(0)?.items.len() as i64).into()])
}

fn concat_from(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let sequence = ctx.sequence(0)?;
    let tensors: Option<Vec<Tensor>> =
        sequence.items.iter().map(|item| item.as_tensor().cloned()).collect();
    let tensors = tensors.ok_or_else(|| Error::invalid("the sequence holds more than tensors"))?;
    let Some(first) = tensors.first() else {
        return Err(Error::invalid("the sequence is empty, there is nothing to concatenate"));
    };
    if ctx.node.attribute("axis").is_none() {
        return Err(ctx.bad_attribute("axis", "is required"));
    }
    if ctx.flag("new_axis", false)? {
        let axis = ctx.axis("axis", 0, first.rank() + 1)?;
        return one(stack(&tensors, axis));
    }
    let axis = ctx.axis("axis", 0, first.rank())?;
    one(concat(&tensors.iter().collect::<Vec<_>>(), axis))
}

fn split_to(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let tensor = ctx.tensor(0)?;
    let axis = ctx.axis("axis", 0, tensor.rank())?;
    let len = tensor.shape()[axis];
    let (lens, keeps) = match ctx.optional_tensor(1)? {
        None => (vec![1; len], ctx.flag("keepdims", true)?),
        Some(split) if split.rank() == 0 => (even_parts(len, ctx.i64(1)?)?, true),
        Some(_) => (shape::dims(&ctx.i64s(1)?)?, true),
    };
    if lens.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) != Some(len) {
        return Err(Error::invalid(format!("parts {lens:?} do not add up to {len}")));
    }
    let mut start = 0;
    let mut items = Vec::with_capacity(lens.len());
    for part in lens {
        let mut piece = slice(tensor, axis, start, part)?;
        if !keeps {
            let mut shape = piece.shape().to_vec();
            shape.remove(axis);
            piece = piece.reshape(&shape)?;
        }
        items.push(piece.into());
        start += part;
    }
    Ok(sequence(tensor.dtype(), items))
}

/// Parts of `part` elements each, the last one shorter if it does not divide.
fn even_parts(len: usize, part: i64) -> Result<Vec<usize>> {
    let part = usize::try_from(part).ok().filter(|&part| part > 0);
    let part = part.ok_or_else(|| Error::invalid("input 1 must be positive"))?;
    Ok((0..len).step_by(part).map(|start| part.min(len - start)).collect())
}

/// Runs the body for each item; further sequences are walked beside the first,
/// tensors are given to every step.
fn map(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let len = ctx.sequence(0)?.items.len();
    let body = ctx.body("body")?;
    let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(len); body.graph.outputs.len()];
    for step in 0..len {
        let mut inputs = Vec::with_capacity(ctx.input_count());
        for at in 0..ctx.input_count() {
            inputs.push(match ctx.value(at)? {
                Value::Sequence(sequence) => match sequence.items.get(step) {
                    Some(item) => item.clone(),
                    None => {
                        let found = sequence.items.len();
                        return Err(Error::invalid(format!(
                            "input {at} has {found} items, expected {len}"
                        )));
                    }
                },
                other => other.clone(),
            });
        }
        for (column, value) in columns.iter_mut().zip(ctx.run_body("body", inputs)?) {
            column.push(value);
        }
    }
    let outputs = columns.into_iter().zip(&body.graph.outputs).map(|(items, id)| {
        let dtype = match (items.first(), &body.graph.values[id.index()].declared) {
            (Some(Value::Tensor(tensor)), _) => tensor.dtype(),
            (_, Some(ValueType::Tensor(dtype, _))) => *dtype,
            _ => DType::F32,
        };
        Value::Sequence(Sequence { dtype, items: Arc::new(items) })
    });
    Ok(outputs.collect())
}

fn optional(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    if ctx.has(0) {
        return Ok(vec![Value::Optional(Some(Box::new(ctx.take(0)?)))]);
    }
    match ctx.type_attribute("type")? {
        Some(_) => Ok(vec![Value::Optional(None)]),
        None => Err(ctx.bad_attribute("type", "is required without an input")),
    }
}

fn has_element(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let has = ctx.has(0) && !matches!(ctx.value(0)?, Value::Optional(None));
    Ok(vec![Tensor::scalar(has).into()])
}

fn get_element(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    match ctx.take(0)? {
        Value::Optional(Some(value)) => Ok(vec![*value]),
        Value::Optional(None) => Err(Error::invalid("the optional is empty")),
        value => Ok(vec![value]),
    }
}
