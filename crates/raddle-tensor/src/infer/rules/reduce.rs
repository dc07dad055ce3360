//! Reductions along axes.

use crate::infer::{Dims, InferContext};
use crate::{Result, shape};

/// `ReduceSum` and its like.
pub fn reduction(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let keeps = ctx.node.flag("keepdims", true)?;
    let axes = match ctx.list("axes", 1)? {
        Some(axes) => axes.unwrap_or_default(),
        // Which axes are reduced is open, how many is not.
        None => match (keeps, ctx.list_len(1)) {
            (true, _) => return Ok(Some(ctx.unknowns(dims.len()))),
            (false, Some(count @ 1..)) if count <= dims.len() => {
                return Ok(Some(ctx.unknowns(dims.len() - count)));
            }
            (false, _) => return Ok(None),
        },
    };
    if axes.is_empty() && ctx.node.flag("noop_with_empty_axes", false)? {
        return Ok(Some(dims.to_vec()));
    }
    let axes = match axes.is_empty() {
        true => (0..dims.len()).collect(),
        false => shape::axes(&axes, dims.len())?,
    };
    Ok(Some(without(dims, &axes, keeps)))
}

/// `ArgMax` and `ArgMin`.
pub fn arg(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let axis = ctx.node.axis("axis", 0, dims.len())?;
    Ok(Some(without(dims, &[axis], ctx.node.flag("keepdims", true)?)))
}

fn without(dims: &[crate::infer::Expr], axes: &[usize], keeps: bool) -> Dims {
    let dim = |axis: usize| match axes.contains(&axis) {
        true => keeps.then(|| 1usize.into()),
        false => Some(dims[axis].clone()),
    };
    (0..dims.len()).filter_map(dim).collect()
}
