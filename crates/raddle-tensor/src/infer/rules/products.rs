//! Products of matrices.

use super::broadcast;
use crate::infer::{Dims, Expr, InferContext};
use crate::{Error, Result};

/// What the product of two stacks of matrices has for dimensions, as numpy's `matmul`.
fn product(left: &[Expr], right: &[Expr]) -> Result<Option<Dims>> {
    let (Some((k_left, outer_left)), Some(_)) = (left.split_last(), right.last()) else {
        return Err(Error::invalid("a product needs operands with dimensions"));
    };
    let (k_right, columns, batch_right) = match right {
        [k] => (k, None, &[][..]),
        [batch @ .., k, columns] => (k, Some(columns.clone()), batch),
        [] => unreachable!("it has a last dimension"),
    };
    if let (Some(a), Some(b)) = (k_left.number(), k_right.number())
        && a != b
    {
        return Err(Error::invalid(format!("expected k = {a}, found {b}")));
    }
    let (rows, batch_left) = match outer_left {
        [batch @ .., rows] => (Some(rows.clone()), batch),
        [] => (None, &[][..]),
    };
    let Some(mut dims) = broadcast(batch_left, batch_right) else { return Ok(None) };
    // A vector stands for a matrix with one row or column, which goes afterwards.
    dims.extend(rows.into_iter().chain(columns));
    Ok(Some(dims))
}

/// `MatMul`.
pub fn matmul(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    match (ctx.dims(0), ctx.dims(1)) {
        (Some(left), Some(right)) => product(left, right),
        _ => Ok(None),
    }
}

/// `MatMulInteger`, and `QLinearMatMul` whose second matrix is input 3.
pub fn matmul_integer(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let second = if ctx.node.op.name == "QLinearMatMul" { 3 } else { 1 };
    match (ctx.dims(0), ctx.dims(second)) {
        (Some(left), Some(right)) => product(left, right),
        _ => Ok(None),
    }
}

/// `Gemm`: always a matrix.
pub fn gemm(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let dim = |index: usize, name: &str, at: usize| -> Result<Expr> {
        let at = if ctx.node.flag(name, false)? { 1 - at } else { at };
        match ctx.dims(index) {
            Some(dims) if dims.len() == 2 => Ok(dims[at].clone()),
            Some(dims) => Err(Error::invalid(format!(
                "input {index} must be a matrix, found {} dimensions",
                dims.len()
            ))),
            None => Ok(ctx.unknown()),
        }
    };
    Ok(Some(vec![dim(0, "transA", 0)?, dim(1, "transB", 1)?]))
}

/// `PackedMatMul`, whose matrix is known by its attributes only.
pub fn packed_matmul(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let matrix = [ctx.node.int("depth", 0)?.into(), ctx.node.int("columns", 0)?.into()];
    product(dims, &matrix)
}
