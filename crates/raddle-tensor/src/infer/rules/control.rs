//! Control flow: what holds whichever way it goes.

use super::Infos;
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Result, shape};

/// `If`: what both branches have in common, or the types of the one that is taken.
pub fn branch(ctx: &InferContext<'_>) -> Result<Infos> {
    if let Some(&[holds]) = ctx.numbers(0).as_deref() {
        return ctx.body(if holds != 0 { "then_branch" } else { "else_branch" }, Vec::new());
    }
    let (left, right) = (ctx.body("then_branch", vec![])?, ctx.body("else_branch", vec![])?);
    Ok(left.into_iter().zip(right).map(|(left, right)| common(ctx, left?, right?)).collect())
}

/// What two types have in common.
fn common(ctx: &InferContext<'_>, left: TensorInfo, right: TensorInfo) -> Option<TensorInfo> {
    if left.dtype != right.dtype {
        return None;
    }
    let dims = match (left.dims, right.dims) {
        (Some(left), Some(right)) if left.len() == right.len() => {
            let dim = |(a, b)| if a == b { a } else { ctx.unknown() };
            Some(left.into_iter().zip(right).map(dim).collect::<Dims>())
        }
        _ => None,
    };
    let known = left.known.filter(|known| Some(known) == right.known.as_ref());
    Some(TensorInfo { known, ..TensorInfo::new(left.dtype, dims) })
}

/// What a body makes of states whose types it may change from step to step.
struct Carried {
    /// Types that hold before every step and behind the last.
    states: Infos,
    /// Types of what one step collects.
    collected: Infos,
}

/// Opens, one after the other, the lengths of states that a step changes, until
/// none is left that it does.
fn carry(ctx: &InferContext<'_>, first: Infos, others: Infos, before: usize) -> Result<Carried> {
    let mut states: Infos =
        first.into_iter().map(|info| info.map(|info| TensorInfo { known: None, ..info })).collect();
    loop {
        // `before` of the other inputs stand in front of the states, the rest behind.
        let inputs = [&others[..before], &states, &others[before..]].concat();
        let mut outputs = ctx.body("body", inputs)?;
        // The body of a loop says first whether it goes on.
        outputs.drain(..usize::from(before > 0).min(outputs.len()));
        let collected = outputs.split_off(states.len().min(outputs.len()));
        let next: Infos = states.iter().zip(outputs).map(|(a, b)| widened(ctx, a, b)).collect();
        if next == states {
            return Ok(Carried { states, collected });
        }
        states = next;
    }
}

/// `state` where `next` says the same, open where it says something else.
fn widened(
    ctx: &InferContext<'_>,
    state: &Option<TensorInfo>,
    next: Option<TensorInfo>,
) -> Option<TensorInfo> {
    let (state, next) = (state.as_ref()?, next?);
    if state.dtype != next.dtype {
        return None;
    }
    let dims = match (&state.dims, next.dims) {
        (Some(own), Some(next)) if own.len() == next.len() => {
            let dim = |(own, next): (&Expr, Expr)| match *own == next || own.is_open() {
                true => own.clone(),
                false => ctx.unknown(),
            };
            Some(own.iter().zip(next).map(dim).collect::<Dims>())
        }
        _ => None,
    };
    Some(TensorInfo::new(state.dtype, dims))
}

/// The type of what is collected along a new axis.
fn stacked(info: Option<TensorInfo>, steps: &Expr, axis: i64) -> Result<Option<TensorInfo>> {
    let Some(TensorInfo { dtype, dims, .. }) = info else { return Ok(None) };
    let dims = match dims {
        Some(mut dims) => {
            let axis = shape::axis(axis, dims.len() + 1)?;
            dims.insert(axis, steps.clone());
            Some(dims)
        }
        None => None,
    };
    Ok(Some(TensorInfo::new(dtype, dims)))
}

/// `Loop`: inputs are most steps, condition, carried values.
pub fn repeat(ctx: &InferContext<'_>) -> Result<Infos> {
    let first = (2..ctx.input_count()).map(|at| ctx.input(at).cloned()).collect();
    let scalar = |dtype| Some(TensorInfo::new(dtype, Dims::new()));
    let others = vec![scalar(DType::I64), scalar(DType::Bool)];
    let Carried { mut states, collected } = carry(ctx, first, others, 2)?;
    let steps = ctx.unknown();
    for info in collected {
        // Without any step the declared type decides, of which lengths may differ.
        let open = info.map(|info| TensorInfo {
            dims: info.dims.map(|dims| ctx.unknowns(dims.len())),
            ..info
        });
        states.push(stacked(open, &steps, 0)?);
    }
    Ok(states)
}

/// `Scan`: states, and tensors that are walked along an axis.
pub fn scan(ctx: &InferContext<'_>) -> Result<Infos> {
    let outputs = ctx.output_count();
    let scanned = usize::try_from(ctx.node.int("num_scan_inputs", 0)?).unwrap_or(0);
    // Opset 8 has lengths in front, and a batch in front of everything.
    let lead = usize::from(ctx.node.opset < 9);
    let Some(states) = ctx.input_count().checked_sub(lead + scanned) else {
        return Ok(vec![None; outputs]);
    };
    let input = |at: usize| ctx.input(lead + at).cloned();
    let without_batch = |info: Option<TensorInfo>| match (lead, info) {
        (0, info) => info,
        (_, Some(TensorInfo { dtype, dims: Some(dims), .. })) if !dims.is_empty() => {
            Some(TensorInfo::new(dtype, dims[1..].to_vec()))
        }
        _ => None,
    };
    let axes = ctx.node.ints("scan_input_axes")?;
    let mut steps = None;
    let mut parts = Vec::new();
    for at in 0..scanned {
        let info = without_batch(input(states + at));
        let Some(TensorInfo { dtype, dims: Some(mut dims), .. }) = info else {
            return Ok(vec![None; outputs]);
        };
        let axis = axes.and_then(|axes| axes.get(at)).copied().unwrap_or(0);
        steps = Some(dims.remove(shape::axis(axis, dims.len())?));
        parts.push(Some(TensorInfo::new(dtype, dims)));
    }
    let Some(mut steps) = steps else { return Ok(vec![None; outputs]) };
    if lead == 1 && ctx.has(0) {
        steps = ctx.unknown();
    }
    let first = (0..states).map(|at| without_batch(input(at))).collect();
    let Carried { mut states, collected } = carry(ctx, first, parts, 0)?;
    let axes = ctx.node.ints("scan_output_axes")?;
    for (at, info) in collected.into_iter().enumerate() {
        let axis = axes.and_then(|axes| axes.get(at)).copied().unwrap_or(0);
        states.push(stacked(info, &steps, axis)?);
    }
    if lead == 1 {
        let batch = ctx.dims(1).and_then(|dims| dims.first().cloned());
        let batch = batch.unwrap_or_else(|| ctx.unknown());
        return states.into_iter().map(|info| stacked(info, &batch, 0)).collect();
    }
    Ok(states)
}

/// Values that are no tensors, and what is taken out of them.
pub fn opaque(ctx: &InferContext<'_>) -> Result<Infos> {
    Ok(vec![None; ctx.output_count()])
}

/// `Optional` and `OptionalGetElement`: a tensor stays what it is.
pub fn unwrapped(ctx: &InferContext<'_>) -> Result<Infos> {
    Ok(vec![ctx.input(0).cloned()])
}

/// One number or truth value of a type.
pub fn single<const IS_BOOL: bool>(_: &InferContext<'_>) -> Result<Infos> {
    let dtype = if IS_BOOL { DType::Bool } else { DType::I64 };
    Ok(vec![Some(TensorInfo::new(dtype, Dims::new()))])
}
