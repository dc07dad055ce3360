//! Parts of tensors, put elsewhere: concatenation, slices, gathering, padding.

use super::{Infos, broadcast, required};
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Error, Result, shape};

/// `Concat`.
pub fn concat(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    // Until opset 3 the axis was 1 if it was absent.
    let axis = match (ctx.node.optional_int("axis")?, ctx.node.opset) {
        (Some(axis), _) => axis,
        (None, 1..=3) => 1,
        (None, _) => return Err(required("axis")),
    };
    let known = (0..ctx.input_count()).find_map(|at| ctx.dims(at));
    let Some(known) = known else { return Ok(None) };
    let axis = shape::axis(axis, known.len())?;
    let mut dims = known.to_vec();
    let mut sum = Some(Expr::default());
    for at in 0..ctx.input_count() {
        let Some(part) = ctx.dims(at) else {
            sum = None;
            continue;
        };
        if part.len() != dims.len() {
            return Err(Error::invalid(format!(
                "inputs differ in rank: {} and {}",
                dims.len(),
                part.len()
            )));
        }
        sum = sum.map(|sum| sum.plus(&part[axis]));
        // Numbers say more than symbols, of which all must be equal.
        for (dim, other) in dims.iter_mut().zip(part) {
            if dim.number().is_none() && (other.number().is_some() || dim.is_open()) {
                *dim = other.clone();
            }
        }
    }
    dims[axis] = sum.unwrap_or_else(|| ctx.unknown());
    Ok(Some(dims))
}

/// `Split`.
pub fn split(ctx: &InferContext<'_>) -> Result<Infos> {
    let count = ctx.output_count();
    let Some(x) = ctx.input(0) else { return Ok(vec![None; count]) };
    let Some(dims) = &x.dims else {
        return Ok(vec![Some(TensorInfo::new(x.dtype, None)); count]);
    };
    let axis = ctx.node.axis("axis", 0, dims.len())?;
    let len = &dims[axis];
    let lens: Vec<Expr> = match ctx.node.ints("split")? {
        Some(list) => list.iter().map(|&len| len.into()).collect(),
        None if ctx.has(1) => match ctx.elements(1) {
            Some(lens) => lens,
            None => ctx.unknowns(count),
        },
        None => {
            // Equal parts, the last one smaller.
            let part = len.ceil_div(&count.into());
            let rest = |at: usize| len.minus(&part.times(&at.into())).larger(&0usize.into());
            match len.exact_div(&count.into()) {
                Some(part) => vec![part; count],
                None => (0..count).map(|at| rest(at).smaller(&part)).collect(),
            }
        }
    };
    if lens.len() != count {
        return Err(Error::invalid(format!("{count} outputs for {} parts", lens.len())));
    }
    let part = |len: Expr| {
        let mut dims = dims.clone();
        dims[axis] = len;
        Some(TensorInfo::new(x.dtype, dims))
    };
    Ok(lens.into_iter().map(part).collect())
}

/// What a slice takes along its axes, if that is known.
pub struct Cut {
    /// The axis.
    pub axis: usize,
    /// First element.
    pub start: Expr,
    /// Number of elements.
    pub len: Expr,
    /// Distance between elements.
    pub step: i64,
}

/// The cuts of a `Slice`; `None` if even their axes are unknown. A cut whose
/// extent is unknown has an open length.
pub fn cuts(ctx: &InferContext<'_>, dims: &[Expr]) -> Result<Option<Vec<Cut>>> {
    let bounds = |name: &str, index: usize| -> Result<Option<Vec<Expr>>> {
        Ok(match ctx.node.ints(name)? {
            Some(list) => Some(list.iter().map(|&at| at.into()).collect()),
            None => ctx.elements(index),
        })
    };
    let (starts, ends) = (bounds("starts", 1)?, bounds("ends", 2)?);
    let count = [&starts, &ends].into_iter().flatten().next().map(Vec::len);
    let axes = match ctx.list("axes", 3)? {
        None => return Ok(None),
        Some(Some(axes)) => shape::axes(&axes, dims.len())?,
        Some(None) => match count.or_else(|| ctx.list_len(1)) {
            Some(count) if count <= dims.len() => (0..count).collect(),
            Some(_) => return Err(Error::invalid("more starts than dimensions")),
            None => return Ok(None),
        },
    };
    let steps = match ctx.has(4) {
        true => ctx.numbers(4),
        false => Some(vec![1; axes.len()]),
    };
    let cut = |(at, &axis): (usize, &usize)| {
        let known = || {
            let (start, end) = (starts.as_ref()?.get(at)?, ends.as_ref()?.get(at)?);
            let step = *steps.as_ref()?.get(at)?;
            let (start, len) = span(start, end, step, &dims[axis])?;
            Some(Cut { axis, start, len, step })
        };
        let open = || Cut { axis, start: ctx.unknown(), len: ctx.unknown(), step: 1 };
        known().unwrap_or_else(open)
    };
    Ok(Some(axes.iter().enumerate().map(cut).collect()))
}

/// First element and number of elements of a slice, clamped as in numpy; `None`
/// if symbols decide what is clamped.
fn span(start: &Expr, end: &Expr, step: i64, len: &Expr) -> Option<(Expr, Expr)> {
    let zero = Expr::default();
    if step == 0 {
        return None;
    }
    // A bound that counts from the end.
    let from_start = |at: &Expr| match at.number() {
        Some(at) if at < 0 => Some(len.plus(&at.into())),
        Some(at) => Some(at.into()),
        None if at.is_natural() => Some(at.clone()),
        // `-n` for a length `n`.
        None if zero.minus(at).is_natural() => Some(len.plus(at)),
        None => None,
    };
    let far = Expr::from(i64::from(i32::MAX));
    let is_far = |at: &Expr| at.number().is_some_and(|at| at >= i64::from(i32::MAX));
    let (low, high) = match step > 0 {
        true => (zero.clone(), len.clone()),
        false => (Expr::from(-1i64), len.minus(&1usize.into())),
    };
    let clamp = |at: &Expr| match at {
        // Bounds that mean "to the end" lie behind every dimension.
        _ if is_far(at) && len.number().is_none_or(|len| len <= far.number().unwrap_or(0)) => {
            Some(high.clone())
        }
        _ if step < 0 && at.number().is_some_and(|at| at <= -i64::from(i32::MAX)) => {
            Some(low.clone())
        }
        _ => {
            let at = from_start(at)?;
            // Most bounds are seen to lie before the end.
            let is_before = high.minus(&at).is_natural();
            let at = at.larger(&low);
            Some(if is_before { at } else { at.smaller(&high) })
        }
    };
    let (start, end) = (clamp(start)?, clamp(end)?);
    let room = if step > 0 { end.minus(&start) } else { start.minus(&end) };
    let count = room.ceil_div(&Expr::from(step.checked_abs()?)).larger(&zero);
    Some((start, count))
}

/// `Slice`.
pub fn slice(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let Some(cuts) = cuts(ctx, dims)? else { return Ok(Some(ctx.unknowns(dims.len()))) };
    let mut dims = dims.to_vec();
    for cut in cuts {
        dims[cut.axis] = cut.len;
    }
    Ok(Some(dims))
}

/// `Gather`.
pub fn gather(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some(dims), Some(indices)) = (ctx.dims(0), ctx.dims(1)) else { return Ok(None) };
    let axis = ctx.node.axis("axis", 0, dims.len())?;
    Ok(Some([&dims[..axis], indices, &dims[axis + 1..]].concat()))
}

/// `GatherElements`: the shape of the indices.
pub fn gather_elements(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    Ok(ctx.dims(1).map(<[Expr]>::to_vec))
}

/// `GatherND`: each line of indices names a part of the data.
pub fn gather_nd(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some(dims), Some(indices)) = (ctx.dims(0), ctx.dims(1)) else { return Ok(None) };
    let batch = usize::try_from(ctx.node.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let Some((depth, places)) = indices.split_last() else { return Ok(None) };
    let Some(depth) = depth.as_len() else { return Ok(None) };
    let part = batch.checked_add(depth).and_then(|from| dims.get(from..));
    let part = part.ok_or_else(|| Error::invalid("indices name more dimensions than there are"))?;
    Ok(Some([places, part].concat()))
}

/// `Tile`: each dimension repeated; before opset 6 one axis a number of times.
pub fn tile(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(ctx.list_len(1).map(|rank| ctx.unknowns(rank))) };
    if ctx.node.opset < 6 {
        let (Some(times), Some(axis)) = (ctx.elements(1), ctx.numbers(2)) else {
            return Ok(Some(ctx.unknowns(dims.len())));
        };
        let ([times], [axis]) = (&times[..], &axis[..]) else { return Ok(None) };
        let mut dims = dims.to_vec();
        let axis = shape::axis(*axis, dims.len())?;
        dims[axis] = dims[axis].times(times);
        return Ok(Some(dims));
    }
    Ok(Some(match ctx.elements(1) {
        Some(repeats) => dims.iter().zip(&repeats).map(|(dim, times)| dim.times(times)).collect(),
        None => ctx.unknowns(dims.len()),
    }))
}

/// `Expand`.
pub fn expand(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    Ok(match (ctx.elements(1), ctx.list_len(1)) {
        (Some(target), _) => broadcast(dims, &target),
        (None, Some(rank)) => Some(ctx.unknowns(rank.max(dims.len()))),
        (None, None) => None,
    })
}

/// `Pad`.
pub fn pad(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let name = if ctx.node.opset == 1 { "paddings" } else { "pads" };
    let pads = match ctx.node.ints(name)? {
        Some(list) => Some(list.iter().map(|&pad| pad.into()).collect()),
        None => ctx.elements(1),
    };
    let axes = match ctx.has(3) {
        true => ctx.numbers(3).map(|axes| shape::axes(&axes, dims.len())).transpose()?,
        false => Some((0..dims.len()).collect()),
    };
    let (Some(pads), Some(axes)) = (pads, axes) else {
        return Ok(Some(ctx.unknowns(dims.len())));
    };
    if pads.len() != 2 * axes.len() {
        let (found, expected) = (pads.len(), 2 * axes.len());
        return Err(Error::invalid(format!("expected {expected} pads, found {found}")));
    }
    let mut dims = dims.to_vec();
    for (at, &axis) in axes.iter().enumerate() {
        dims[axis] = dims[axis].plus(&pads[at]).plus(&pads[axes.len() + at]);
    }
    Ok(Some(dims))
}

/// `TopK`: values and their indices.
pub fn top_k(ctx: &InferContext<'_>) -> Result<Infos> {
    let Some(x) = ctx.input(0) else { return Ok(vec![None; 2]) };
    let dims = match &x.dims {
        Some(dims) => {
            let k = match ctx.node.optional_int("k")? {
                Some(k) => Some(k.into()),
                None => ctx.elements(1).filter(|all| all.len() == 1).map(|all| all[0].clone()),
            };
            let mut dims = dims.clone();
            let axis = ctx.node.axis("axis", -1, dims.len())?;
            dims[axis] = k.unwrap_or_else(|| ctx.unknown());
            Some(dims)
        }
        None => None,
    };
    let indices = TensorInfo::new(DType::I64, dims.clone());
    Ok(vec![Some(TensorInfo::new(x.dtype, dims)), Some(indices)])
}
