//! Rules of inference, by what they are about. The op table names them; a row
//! whose result has the shape of an input or of its broadcast inputs needs none.

mod attention;
mod control;
mod elements;
mod places;
mod products;
mod reduce;
mod resize;
mod shaping;
mod signal;
mod window;

pub use attention::*;
pub use control::*;
pub use elements::{
    cast, complement, constant_fill, equal, gathered, joined, product_of_axis, range_elements,
    same, selected, shape_elements, sliced, sums, total,
};
pub use elements::{differences, floors, maxima, minima, products, quotients, remainders};
pub use places::{
    concat, expand, gather, gather_elements, gather_nd, pad, slice, split, tile, top_k,
};
pub use products::{gemm, matmul, matmul_integer, packed_matmul};
pub use reduce::{arg, reduction};
pub use resize::{resize, upsample};
pub use shaping::{
    constant, constant_of_shape, flatten, from_shape_attribute, identity, range, reshape, scalar,
    shape_of, squeeze, transpose, unsqueeze,
};
pub use signal::*;
pub use window::{
    block, blocked_pool, col2im, conv, conv_integer, conv_transpose, deform_conv, global_pool,
    max_pool, max_unpool, packed_conv, pool, qlinear_conv, unblock,
};

use std::ops::Range;

use super::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Error, Result};

/// The types of a node's outputs, `None` where nothing is known.
pub type Infos = Vec<Option<TensorInfo>>;

/// What inputs broadcast to, if the dimensions of all are known and they do.
/// What does not broadcast is left to the run, which names both shapes.
pub fn broadcast_inputs(ctx: &InferContext<'_>, inputs: Range<usize>) -> Option<Dims> {
    inputs.filter(|&at| ctx.has(at)).try_fold(Dims::new(), |all, at| broadcast(&all, ctx.dims(at)?))
}

/// What two lists of dimensions broadcast to.
pub fn broadcast(left: &[Expr], right: &[Expr]) -> Option<Dims> {
    let rank = left.len().max(right.len());
    let dim = |dims: &[Expr], at: usize| {
        (at + dims.len()).checked_sub(rank).map_or_else(|| 1usize.into(), |axis| dims[axis].clone())
    };
    (0..rank).map(|at| dim(left, at).broadcast(&dim(right, at))).collect()
}

/// The product of dimensions.
pub fn count(dims: &[Expr]) -> Expr {
    dims.iter().fold(Expr::from(1usize), |count, dim| count.times(dim))
}

/// The first output like the first input, others with dimensions of their own.
fn like_first(ctx: &InferContext<'_>, others: &[(DType, Option<Dims>)]) -> Infos {
    let first = ctx.input(0).map(|info| TensorInfo { known: None, ..info.clone() });
    let others = others.iter().map(|(dtype, dims)| Some(TensorInfo::new(*dtype, dims.clone())));
    std::iter::once(first).chain(others).collect()
}

/// `Dropout`: a mask as the second output.
pub fn dropout(ctx: &InferContext<'_>) -> Result<Infos> {
    let Some(x) = ctx.input(0) else { return Ok(vec![None; 2]) };
    let mask = if ctx.node.opset < 10 { x.dtype } else { DType::Bool };
    Ok(like_first(ctx, &[(mask, x.dims.clone())]))
}

/// `BatchNormalization`: statistics as further outputs, like their inputs.
pub fn batch_norm(ctx: &InferContext<'_>) -> Result<Infos> {
    let like = |at: usize| ctx.input(at).map(|info| TensorInfo { known: None, ..info.clone() });
    Ok(vec![like(0), like(3), like(4), like(3), like(4)])
}

/// `LayerNormalization`: mean and inverse deviation of what is normalised.
pub fn layer_norm(ctx: &InferContext<'_>) -> Result<Infos> {
    let Some(x) = ctx.input(0) else { return Ok(vec![None; 3]) };
    let reduced = match &x.dims {
        Some(dims) => {
            let axis = ctx.node.axis("axis", -1, dims.len())?;
            let mut reduced = dims.clone();
            reduced[axis..].fill(1usize.into());
            Some(reduced)
        }
        None => None,
    };
    let stash = ctx.node.dtype_attribute("stash_type")?.unwrap_or(DType::F32);
    Ok(like_first(ctx, &[(stash, reduced.clone()), (stash, reduced)]))
}

/// A required attribute.
fn required(name: &str) -> Error {
    Error::Attribute { name: name.into(), why: "is required".into() }
}
