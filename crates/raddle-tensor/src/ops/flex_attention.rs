//! Attention whose scores and probabilities pass through bodies of the model's own.

use super::elementwise::unsupported;
use super::linear::matmul_tensors;
use super::real::{Real, softmax};
use crate::DTypeRule::Like;
use crate::Kind::{Float, Graph, Int};
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::transpose;
use crate::{
    Class, DType, Error, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[op("FlexAttention", 1..=1)
    .domain("ai.onnx.preview")
    .inputs(3, 3)
    .attributes(&[
        ("prob_mod", Graph),
        ("scale", Float),
        ("score_mod", Graph),
        ("softmax_precision", Int),
    ])
    .result(Like(2), ShapeRule::Computed)
    .dims(rules::flex_attention)
    .run(flex_attention)];

/// `prob_mod(softmax(score_mod(scale Q K^T))) V`; groups of query heads share a
/// head of keys and values.
fn flex_attention(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (q, k, v) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let mismatch =
        |why| Error::ShapeMismatch { left: q.shape().to_vec(), right: k.shape().to_vec(), why };
    let (&[batch, heads, queries, key_len], &[k_batch, cache_heads, keys, k_key_len]) =
        (q.shape(), k.shape())
    else {
        return Err(mismatch("queries and keys must have 4 dimensions"));
    };
    if (batch, key_len) != (k_batch, k_key_len) {
        return Err(mismatch("queries and keys must agree in batch and head size"));
    }
    if !heads.is_multiple_of(cache_heads) {
        return Err(mismatch("heads of queries must be a multiple of heads of keys"));
    }
    let &[v_batch, v_heads, v_keys, value_len] = v.shape() else {
        return Err(mismatch("values must have 4 dimensions"));
    };
    if [v_batch, v_heads, v_keys] != [batch, cache_heads, keys] {
        return Err(Error::ShapeMismatch {
            left: k.shape().to_vec(),
            right: v.shape().to_vec(),
            why: "keys and values must agree in batch, heads and length",
        });
    }
    let inside = precision(ctx, q)?;
    let scale = match ctx.node.attribute("scale") {
        Some(_) => f64::from(ctx.float("scale", 1.0)?),
        None => 1.0 / (key_len as f64).sqrt(),
    };
    // The queries of a group of heads lie behind each other, as if of one head.
    let rows = heads.checked_div(cache_heads).unwrap_or(0) * queries;
    let q = scaled(q, scale, inside)?.reshape(&[batch, cache_heads, rows, key_len])?;
    let k = scaled(&transpose(k, &[0, 1, 3, 2])?, 1.0, inside)?;
    let all = [batch, heads, queries, keys];
    let scores = modify(ctx, "score_mod", matmul_tensors(&q, &k)?.reshape(&all)?)?;
    let probabilities = match inside.class() {
        Class::F64 => probabilities::<f64>(&scores)?,
        _ => probabilities::<f32>(&scores)?,
    };
    let probabilities = modify(ctx, "prob_mod", probabilities)?;
    let probabilities = probabilities.reshape(&[batch, cache_heads, rows, keys])?;
    let y = matmul_tensors(&probabilities, &scaled(v, 1.0, inside)?)?;
    one(scaled(&y, 1.0, v.dtype())?.reshape(&[batch, heads, queries, value_len]))
}

/// The type of scores: `f32` unless the operands are wider or the model says so.
fn precision(ctx: &OpContext<'_>, q: &Tensor) -> Result<DType> {
    for index in 0..3 {
        let dtype = ctx.tensor(index)?.dtype();
        if !dtype.is_float() || dtype != q.dtype() {
            return Err(unsupported(index, dtype, "one float type for all inputs"));
        }
    }
    match ctx.dtype_attribute("softmax_precision")? {
        Some(dtype @ (DType::F64 | DType::F32 | DType::F16 | DType::BF16)) => Ok(dtype),
        Some(other) => {
            Err(ctx.bad_attribute("softmax_precision", format!("names {other}, no float")))
        }
        None if q.dtype() == DType::F64 => Ok(DType::F64),
        None => Ok(DType::F32),
    }
}

/// `factor x` as elements of `dtype`.
fn scaled(x: &Tensor, factor: f64, dtype: DType) -> Result<Tensor> {
    if factor == 1.0 && x.dtype() == dtype {
        return Ok(x.clone());
    }
    let elements = f64::widen(x)?.iter().map(|x| x * factor).collect();
    Tensor::computed(x.shape(), dtype, elements)
}

fn probabilities<T: Real>(scores: &Tensor) -> Result<Tensor> {
    let mut rows = T::widen(scores)?.into_owned();
    let keys = scores.shape()[3];
    parallel::parts(&mut rows, keys * scores.shape()[2], &|_, head| {
        head.chunks_mut(keys).for_each(softmax);
    });
    Tensor::computed(scores.shape(), scores.dtype(), rows)
}

/// The tensor after the body that attribute `name` holds, if there is one.
fn modify(ctx: &OpContext<'_>, name: &str, x: Tensor) -> Result<Tensor> {
    if ctx.node.attribute(name).is_none() {
        return Ok(x);
    }
    let (shape, dtype) = (x.shape().to_vec(), x.dtype());
    let mut outputs = ctx.run_body(name, vec![x.into()])?;
    let count = outputs.len();
    let output = outputs.pop().filter(|_| count == 1).and_then(Value::into_tensor);
    output.filter(|output| output.shape() == shape && output.dtype() == dtype).ok_or_else(|| {
        let why = format!("must make one tensor {dtype}{shape:?}, like its input");
        ctx.bad_attribute(name, why)
    })
}
