//! The same elements under another shape, shapes as values, values from attributes.

use super::{Infos, count};
use crate::graph::Attribute;
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Error, Result, Tensor, shape};

/// `Reshape`: 0 keeps a dimension, -1 stands for what is left.
pub fn reshape(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let wanted = match ctx.node.ints("shape")? {
        Some(list) => list.iter().map(|&dim| dim.into()).collect(),
        None => match ctx.elements(1) {
            Some(wanted) => wanted,
            None => return Ok(ctx.list_len(1).map(|rank| ctx.unknowns(rank))),
        },
    };
    let allows_zero = ctx.node.flag("allowzero", false).unwrap_or(false);
    let own = ctx.dims(0);
    let mut open = None;
    let mut target = Vec::with_capacity(wanted.len());
    for (axis, dim) in wanted.into_iter().enumerate() {
        target.push(if dim.is(-1) && open.replace(axis).is_none() {
            1usize.into()
        } else if dim.is(0) && !allows_zero {
            match own {
                Some(dims) => dims.get(axis).cloned().ok_or_else(|| {
                    Error::invalid(format!("dimension {axis} keeps one that is not there"))
                })?,
                None => ctx.unknown(),
            }
        } else if dim.number().is_some_and(|dim| dim < 0) {
            return Err(Error::invalid(format!("{dim} is no dimension of a shape")));
        } else {
            dim
        });
    }
    if let Some(axis) = open {
        target[axis] = match own {
            Some(own) => rest(own, &target),
            None => ctx.unknown(),
        };
    }
    Ok(Some(target))
}

/// Elements of `own` for each of `target`; dimensions that both have, in any
/// order, are left out first, so that sums among them need no division.
fn rest(own: &[Expr], target: &[Expr]) -> Expr {
    let mut own = own.to_vec();
    let mut others = Vec::new();
    for dim in target {
        match own.iter().position(|other| other == dim && !dim.is(0)) {
            Some(at) => drop(own.swap_remove(at)),
            None => others.push(dim.clone()),
        }
    }
    count(&own).floor_div(&count(&others))
}

/// `Flatten`.
pub fn flatten(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(Some(ctx.unknowns(2))) };
    let axis = ctx.node.int("axis", 1)?;
    let at = if axis == dims.len() as i64 { dims.len() } else { shape::axis(axis, dims.len())? };
    Ok(Some(vec![count(&dims[..at]), count(&dims[at..])]))
}

/// `Squeeze`.
pub fn squeeze(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some(dims), Some(axes)) = (ctx.dims(0), ctx.list("axes", 1)?) else { return Ok(None) };
    let axes = match axes {
        Some(axes) => shape::axes(&axes, dims.len())?,
        // Without axes, symbols decide about the rank.
        None if dims.iter().any(|dim| dim.number().is_none()) => return Ok(None),
        None => (0..dims.len()).filter(|&axis| dims[axis].is(1)).collect(),
    };
    let kept = dims.iter().enumerate().filter(|(axis, _)| !axes.contains(axis));
    Ok(Some(kept.map(|(_, dim)| dim.clone()).collect()))
}

/// `Unsqueeze`.
pub fn unsqueeze(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let axes = match ctx.list("axes", 1)? {
        Some(Some(axes)) => axes,
        Some(None) => return Err(Error::MissingInput { index: 1 }),
        None => return Ok(ctx.list_len(1).map(|more| ctx.unknowns(dims.len() + more))),
    };
    let rank = dims.len() + axes.len();
    let axes = shape::axes(&axes, rank)?;
    let mut old = dims.iter();
    let dim = |axis| if axes.contains(&axis) { Some(1usize.into()) } else { old.next().cloned() };
    Ok(Some((0..rank).filter_map(dim).collect()))
}

/// `Transpose`.
pub fn transpose(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let order = ctx.node.ints("perm")?;
    let Some(dims) = ctx.dims(0) else {
        return Ok(order.map(|order| ctx.unknowns(order.len())));
    };
    let order = match order {
        Some(order) => shape::axes(order, dims.len())?,
        None => (0..dims.len()).rev().collect(),
    };
    if order.len() != dims.len() {
        let why = format!("must list {} dimensions, found {}", dims.len(), order.len());
        return Err(ctx.node.bad_attribute("perm", why));
    }
    Ok(Some(order.into_iter().map(|axis| dims[axis].clone()).collect()))
}

/// The dimensions that `Shape` is asked for.
pub fn shape_part<'a>(ctx: &InferContext<'a>) -> Option<&'a [Expr]> {
    let dims = ctx.dims(0)?;
    let rank = dims.len() as i64;
    let clamp =
        |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
    let (start, end) = (ctx.node.int("start", 0).ok()?, ctx.node.int("end", rank).ok()?);
    Some(dims.get(clamp(start)..clamp(end)).unwrap_or_default())
}

/// `Shape`.
pub fn shape_of(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let len = shape_part(ctx).map(|part| part.len().into());
    Ok(Some(vec![len.unwrap_or_else(|| ctx.unknown())]))
}

/// A result without dimensions.
pub fn scalar(_: &InferContext<'_>) -> Result<Option<Dims>> {
    Ok(Some(Dims::new()))
}

/// `Identity`: everything that is known of the input.
pub fn identity(ctx: &InferContext<'_>) -> Result<Infos> {
    Ok(vec![ctx.input(0).cloned()])
}

/// `Constant`.
pub fn constant(ctx: &InferContext<'_>) -> Result<Infos> {
    let [(_, value)] = &ctx.node.attributes[..] else { return Ok(vec![None]) };
    let tensor = match value {
        Attribute::Tensor(tensor) => tensor.clone(),
        Attribute::Float(x) => Tensor::scalar(*x),
        Attribute::Floats(list) => Tensor::vector(list.clone()),
        Attribute::Int(x) => Tensor::scalar(*x),
        Attribute::Ints(list) => Tensor::vector(list.clone()),
        Attribute::String(text) => Tensor::scalar(text.clone()),
        Attribute::Strings(list) => Tensor::vector(list.clone()),
        Attribute::Graph(_) | Attribute::Graphs(_) | Attribute::Tensors(_) | Attribute::Type(_) => {
            return Ok(vec![None]);
        }
    };
    Ok(vec![Some(TensorInfo::constant(&tensor))])
}

/// `ConstantOfShape`.
pub fn constant_of_shape(ctx: &InferContext<'_>) -> Result<Infos> {
    let value = match ctx.node.attribute("value") {
        Some(Attribute::Tensor(value)) => value.dtype(),
        _ => DType::F32,
    };
    let dims = ctx.elements(0).or_else(|| ctx.list_len(0).map(|rank| ctx.unknowns(rank)));
    Ok(vec![Some(TensorInfo::new(value, dims))])
}

/// `RandomUniform` and the like: type and shape are attributes.
pub fn from_shape_attribute(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = ctx.node.dtype_attribute("dtype")?.unwrap_or(DType::F32);
    let dims = ctx.node.ints("shape")?.map(|list| list.iter().map(|&dim| dim.into()).collect());
    Ok(vec![Some(TensorInfo::new(dtype, dims.unwrap_or_else(Dims::new)))])
}

/// `Range`.
pub fn range(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let known = [0, 1, 2].map(|at| ctx.elements(at).filter(|all| all.len() == 1));
    let [Some(start), Some(limit), Some(step)] = known else {
        // Numbers with fractions.
        let count = ctx.evaluate().and_then(|values| Some(values[0].as_tensor()?.len()));
        return Ok(Some(vec![count.map_or_else(|| ctx.unknown(), Expr::from)]));
    };
    if step[0].is(0) {
        return Err(Error::invalid("the step of a range must be a finite number other than 0"));
    }
    let count = limit[0].minus(&start[0]).ceil_div(&step[0]);
    Ok(Some(vec![count.larger(&0usize.into())]))
}
