//! Attention in its forms, and losses.

use super::{Infos, required};
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Result, ops};

/// A required count.
fn heads(ctx: &InferContext<'_>, name: &str) -> Result<Expr> {
    ctx.node.optional_int(name)?.map(Expr::from).ok_or_else(|| required(name))
}

/// An input as `[batch, heads, length, size]`; one of rank 3 has its heads side
/// by side in the last dimension.
fn split(ctx: &InferContext<'_>, index: usize, name: &str) -> Result<Option<[Expr; 4]>> {
    Ok(match ctx.dims(index) {
        Some([batch, heads, len, size]) => Some([batch, heads, len, size].map(Expr::clone)),
        Some([batch, len, width]) => {
            let heads = heads(ctx, name)?;
            let size = width.floor_div(&heads);
            Some([batch.clone(), heads, len.clone(), size])
        }
        _ => None,
    })
}

/// `Attention`: the result, keys and values with those of the past, scores.
pub fn attention(ctx: &InferContext<'_>) -> Result<Infos> {
    let queries = split(ctx, 0, "q_num_heads")?;
    let (keys, values) = (split(ctx, 1, "kv_num_heads")?, split(ctx, 2, "kv_num_heads")?);
    let (Some(q), Some(k), Some(v), Some(dtype)) = (queries, keys, values, ctx.dtype(0)) else {
        return Ok(vec![None; 4]);
    };
    let with_past = |index: usize, [batch, heads, len, size]: &[Expr; 4]| -> Option<Dims> {
        let len = match (ctx.has(index), ctx.dims(index)) {
            (false, _) => len.clone(),
            (true, Some([_, _, past, _])) => past.plus(len),
            (true, _) => return None,
        };
        Some(vec![batch.clone(), heads.clone(), len, size.clone()])
    };
    let (cached_keys, cached_values) = (with_past(4, &k), with_past(5, &v));
    let [batch, heads, len, _] = q;
    let is_packed = ctx.dims(0).is_some_and(|dims| dims.len() == 3);
    let y = match is_packed {
        true => vec![batch.clone(), len.clone(), heads.times(&v[3])],
        false => vec![batch.clone(), heads.clone(), len.clone(), v[3].clone()],
    };
    let scores = cached_keys.as_ref().map(|keys| vec![batch, heads, len, keys[2].clone()]);
    let like = |index: usize, dims| ctx.dtype(index).map(|dtype| TensorInfo::new(dtype, dims));
    Ok(vec![
        Some(TensorInfo::new(dtype, y)),
        like(1, cached_keys),
        like(2, cached_values),
        Some(TensorInfo::new(dtype, scores)),
    ])
}

/// `FlexAttention`.
pub fn flex_attention(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some([batch, heads, len, _]), Some([.., size])) = (ctx.dims(0), ctx.dims(2)) else {
        return Ok(None);
    };
    Ok(Some([batch, heads, len, size].map(Expr::clone).to_vec()))
}

/// `LinearAttention`: the result and the state.
pub fn linear_attention(ctx: &InferContext<'_>) -> Result<Infos> {
    let (Some([batch, time, width]), Some([.., value_width]), Some(dtype)) =
        (ctx.dims(0), ctx.dims(2), ctx.dtype(0))
    else {
        return Ok(vec![None; 2]);
    };
    let (query_heads, cache_heads) = (heads(ctx, "q_num_heads")?, heads(ctx, "kv_num_heads")?);
    let value = value_width.floor_div(&cache_heads);
    let y = vec![batch.clone(), time.clone(), query_heads.times(&value)];
    let state = vec![batch.clone(), cache_heads, width.floor_div(&query_heads), value];
    // The state keeps the type that it is given in.
    let state_dtype = ctx.dtype(3).unwrap_or(dtype);
    Ok(vec![Some(TensorInfo::new(dtype, y)), Some(TensorInfo::new(state_dtype, state))])
}

/// `CausalConvWithState`: the result and the last elements.
pub fn causal_conv(ctx: &InferContext<'_>) -> Result<Infos> {
    let (Some(x), Some([.., taps])) = (ctx.input(0), ctx.dims(1)) else { return Ok(vec![None; 2]) };
    let state = x.dims.clone().map(|mut dims| {
        if let Some(last) = dims.last_mut() {
            *last = taps.minus(&1usize.into());
        }
        dims
    });
    Ok(super::like_first(ctx, &[(x.dtype, state)]))
}

/// Losses: one number, or one for each place; the second output is like the scores.
pub fn loss(ctx: &InferContext<'_>) -> Result<Infos> {
    let Some(x) = ctx.input(0) else { return Ok(vec![None; 2]) };
    let dims = match ctx.node.text("reduction", "mean")? {
        "none" => ctx.dims(1).map(<[Expr]>::to_vec),
        _ => Some(Dims::new()),
    };
    let logarithms = TensorInfo { known: None, ..x.clone() };
    Ok(vec![Some(TensorInfo::new(x.dtype, dims)), Some(logarithms)])
}

/// `RNN`, `GRU`, `LSTM`: all states, the last state, and the last cells.
pub fn recurrent(ctx: &InferContext<'_>) -> Result<Infos> {
    let is_packed = ctx.node.op.domain == ops::INTERNAL_DOMAIN;
    // Packed weights have lost their shape.
    let hidden = match ctx.node.optional_int("hidden_size")? {
        Some(stated) if is_packed => Some(stated.into()),
        _ => ctx.dims(2).and_then(|dims| dims.last().cloned()),
    };
    let (Some([first, second, _]), Some(hidden), Some(dtype)) = (ctx.dims(0), hidden, ctx.dtype(0))
    else {
        return Ok(vec![None; 3]);
    };
    let is_batch_first = ctx.node.flag("layout", false)?;
    let (steps, batch) = if is_batch_first { (second, first) } else { (first, second) };
    let is_double = ctx.node.text("direction", "forward")? == "bidirectional";
    let directions = Expr::from(if is_double { 2usize } else { 1 });
    let [steps, batch] = [steps, batch].map(Expr::clone);
    let (all, last) = match is_batch_first {
        true => (
            vec![batch.clone(), steps, directions.clone(), hidden.clone()],
            vec![batch, directions, hidden],
        ),
        false => (
            vec![steps, directions.clone(), batch.clone(), hidden.clone()],
            vec![directions, batch, hidden],
        ),
    };
    let info = |dims| Some(TensorInfo::new(dtype, dims));
    Ok(vec![info(all), info(last.clone()), info(last)])
}

/// Optimisers: weights and their state, like the inputs behind rate, step and gradients.
pub fn optimizer(ctx: &InferContext<'_>) -> Result<Infos> {
    let states = if ctx.node.op.name == "Adam" { 2 } else { 1 };
    let count = ctx.input_count().saturating_sub(2) / (2 + states);
    let lists = std::iter::once(0).chain(2..2 + states);
    let inputs = lists.flat_map(|list| (0..count).map(move |at| 2 + list * count + at));
    let like = |at: usize| ctx.input(at).map(|info| TensorInfo { known: None, ..info.clone() });
    Ok(inputs.map(like).collect())
}

/// `DynamicQuantizeLinear`: bytes, their scale and their zero point.
pub fn dynamic_quantize(ctx: &InferContext<'_>) -> Result<Infos> {
    let dims = ctx.dims(0).map(<[Expr]>::to_vec);
    let scalar = |dtype| Some(TensorInfo::new(dtype, Dims::new()));
    Ok(vec![Some(TensorInfo::new(DType::U8, dims)), scalar(DType::F32), scalar(DType::U8)])
}

/// `QuantizeLinear` and `DequantizeLinear`.
pub fn quantize(ctx: &InferContext<'_>) -> Result<Infos> {
    let is_forward = ctx.node.op.name == "QuantizeLinear";
    let stated = match ctx.node.int("output_dtype", 0)? {
        0 => None,
        _ => ctx.node.dtype_attribute("output_dtype")?,
    };
    let dtype = match (is_forward, ctx.has(2)) {
        (true, true) => ctx.dtype(2),
        (true, false) => Some(stated.unwrap_or(DType::U8)),
        (false, _) => stated.or_else(|| ctx.dtype(1)),
    };
    let dims = ctx.dims(0).map(<[Expr]>::to_vec);
    Ok(vec![dtype.map(|dtype| TensorInfo::new(dtype, dims))])
}
