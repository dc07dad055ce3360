//! Attention with a state instead of a cache, and the short causal convolution
//! that stands in front of it in such models.
//!
//! Source: ONNX 1.22, LinearAttention-27 and CausalConvWithState-27.

use super::attention::count_attribute;
use super::elementwise::unsupported;
use super::real::{Real, silu};
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, String as Text};
use crate::infer::rules;
use crate::movement::{concat, slice, transpose};
use crate::shape::element_count;
use crate::{Class, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, parallel};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("LinearAttention", 27..=LATEST)
        .inputs(3, 6)
        .outputs(1, 2)
        .attributes(&[
            ("chunk_size", Int),
            ("kv_num_heads", Int),
            ("q_num_heads", Int),
            ("scale", Float),
            ("update_rule", Text),
        ])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::linear_attention)
        .run(linear_attention),
    op("CausalConvWithState", 27..=LATEST)
        .inputs(2, 4)
        .outputs(1, 2)
        .attributes(&[("activation", Text)])
        .result(Like(0), ShapeRule::Like(0))
        .infer(rules::causal_conv)
        .run(causal_conv),
];

/// Lengths of the dimensions of a linear attention.
struct Dims {
    batch: usize,
    time: usize,
    /// Heads of keys, values and states.
    heads: usize,
    /// Query heads that read one state.
    group: usize,
    key_len: usize,
    value_len: usize,
}

/// What changes the state at a step, besides `k v^T`.
struct Inputs<'a, T> {
    query: &'a [T],
    key: &'a [T],
    value: &'a [T],
    /// Logarithms of decays with their number for each head.
    decay: Option<(&'a [T], usize)>,
    /// Update rates with their number for each step.
    beta: Option<(&'a [T], usize)>,
    scale: T,
}

fn linear_attention(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let dtype = ctx.tensor(0)?.dtype();
    for index in [1, 2, 4, 5] {
        match ctx.optional_tensor(index)? {
            Some(x) if x.dtype() != dtype => {
                return Err(unsupported(index, x.dtype(), dtype.name()));
            }
            _ => {}
        }
    }
    match dtype.class() {
        Class::F32 => recur::<f32>(ctx),
        Class::F64 => recur::<f64>(ctx),
        _ => Err(unsupported(0, dtype, "a float")),
    }
}

fn dims(ctx: &OpContext<'_>) -> Result<Dims> {
    let (query_heads, heads) =
        (count_attribute(ctx, "q_num_heads")?, count_attribute(ctx, "kv_num_heads")?);
    let (query, key, value) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let mismatch = |right: &Tensor, why| Error::ShapeMismatch {
        left: query.shape().to_vec(),
        right: right.shape().to_vec(),
        why,
    };
    let &[batch, time, width] = query.shape() else {
        return Err(mismatch(query, "queries must have 3 dimensions"));
    };
    if !query_heads.is_multiple_of(heads) || !width.is_multiple_of(query_heads) {
        let why = "must be a multiple of kv_num_heads and divide the queries' last dimension";
        return Err(ctx.bad_attribute("q_num_heads", why));
    }
    let key_len = width / query_heads;
    if *key.shape() != [batch, time, heads * key_len] {
        return Err(mismatch(key, "keys must be [batch, time, heads * key size]"));
    }
    let width = value.shape().last().copied().unwrap_or(0);
    if *value.shape() != [batch, time, width] || !width.is_multiple_of(heads) {
        return Err(mismatch(value, "values must be [batch, time, heads * value size]"));
    }
    let (group, value_len) = (query_heads / heads, width / heads);
    Ok(Dims { batch, time, heads, group, key_len, value_len })
}

/// An optional input `[batch, time, n]` where `n` is one of `widths`.
fn gate<'a>(
    ctx: &'a OpContext<'_>,
    index: usize,
    is_used: bool,
    (dims, widths): (&Dims, [usize; 2]),
) -> Result<Option<(&'a Tensor, usize)>> {
    let rule = ctx.text("update_rule", "gated_delta")?;
    match ctx.optional_tensor(index)? {
        None if is_used => Err(Error::invalid(format!("rule {rule} needs input {index}"))),
        Some(_) if !is_used => Err(Error::invalid(format!("rule {rule} has no input {index}"))),
        None => Ok(None),
        Some(x) => match *x.shape() {
            [batch, time, width]
                if [batch, time] == [dims.batch, dims.time] && widths.contains(&width) =>
            {
                Ok(Some((x, width)))
            }
            _ => Err(Error::invalid(format!(
                "input {index} must be [{}, {}, {} or {}], found shape {:?}",
                dims.batch,
                dims.time,
                widths[0],
                widths[1],
                x.shape()
            ))),
        },
    }
}

fn recur<T: Real>(ctx: &OpContext<'_>) -> Result<Vec<Value>> {
    let dims = dims(ctx)?;
    let Dims { batch, time, heads, group, key_len, value_len } = dims;
    let (is_gated, is_delta) = match ctx.text("update_rule", "gated_delta")? {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return Err(ctx.bad_attribute("update_rule", format!("is unknown: {other:?}"))),
    };
    let decay = gate(ctx, 4, is_gated, (&dims, [heads, heads * key_len]))?;
    let beta = gate(ctx, 5, is_delta, (&dims, [heads, 1]))?;
    let state_shape = [batch, heads, key_len, value_len];
    let past = match ctx.optional_tensor(3)? {
        Some(past) if *past.shape() != state_shape => {
            return Err(Error::ShapeMismatch {
                left: state_shape.to_vec(),
                right: past.shape().to_vec(),
                why: "the past state must be [batch, heads, key size, value size]",
            });
        }
        other => other,
    };
    let scale = match ctx.float("scale", 0.0)? {
        0.0 => 1.0 / (key_len as f64).sqrt(),
        scale => f64::from(scale),
    };
    let (query, key, value) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let widened = [query, key, value].map(|x| T::widen(x));
    let [query_elements, key, value] = widened;
    let (query_elements, key, value) = (query_elements?, key?, value?);
    let (decay_elements, beta_elements) =
        (decay.map(|(x, _)| T::widen(x)).transpose()?, beta.map(|(x, _)| T::widen(x)).transpose()?);
    let inputs = Inputs {
        query: &query_elements,
        key: &key,
        value: &value,
        decay: decay_elements.as_deref().zip(decay.map(|(_, width)| width / heads)),
        beta: beta_elements.as_deref().zip(beta.map(|(_, width)| width)),
        scale: T::of(scale),
    };
    // Each head's state and outputs lie together, so that heads run side by side.
    let (state_len, out_len) = (key_len * value_len, time * group * value_len);
    let past_elements = past.map(|past| T::widen(past)).transpose()?;
    let mut blocks =
        vec![
            T::default();
            element_count(&[batch, heads, state_len.saturating_add(out_len)], query.dtype())?
        ];
    parallel::parts(&mut blocks, state_len + out_len, &|head, block| {
        let (state, out) = block.split_at_mut(state_len);
        if let Some(past) = &past_elements {
            state.copy_from_slice(&past[head * state_len..(head + 1) * state_len]);
        }
        run_head(&dims, &inputs, (head / heads, head % heads), state, out);
    });
    let blocks = blocks.chunks((state_len + out_len).max(1));
    let halves = |from: usize, to: usize| -> Vec<T> {
        blocks.clone().flat_map(|block| &block[from..to]).copied().collect()
    };
    let out = Tensor::computed(
        &[batch, heads, time, group, value_len],
        query.dtype(),
        halves(state_len, state_len + out_len),
    )?;
    let out = transpose(&out, &[0, 2, 1, 3, 4])?;
    let state_dtype = past.map_or(query.dtype(), Tensor::dtype);
    let state = Tensor::computed(&state_shape, state_dtype, halves(0, state_len))?;
    Ok(vec![out.reshape(&[batch, time, heads * group * value_len])?.into(), state.into()])
}

/// All steps of one head: `state: [key size, value size]`, `out: [time, group, value size]`.
fn run_head<T: Real>(
    dims: &Dims,
    inputs: &Inputs<'_, T>,
    (image, head): (usize, usize),
    state: &mut [T],
    out: &mut [T],
) {
    let Dims { time, heads, group, key_len, value_len, .. } = *dims;
    if value_len == 0 {
        return;
    }
    let mut change = vec![T::default(); value_len];
    for (step, out) in out.chunks_mut(group * value_len).enumerate() {
        let at = (image * time + step) * heads + head;
        let key = &inputs.key[at * key_len..(at + 1) * key_len];
        change.copy_from_slice(&inputs.value[at * value_len..(at + 1) * value_len]);
        if let Some((decay, width)) = inputs.decay {
            let decay = &decay[at * width..(at + 1) * width];
            for (row, state) in state.chunks_mut(value_len).enumerate() {
                let factor = decay[row % width].exp();
                state.iter_mut().for_each(|x| *x *= factor);
            }
        }
        if let Some((beta, width)) = inputs.beta {
            // change = beta (v - S^T k)
            for (&k, state) in key.iter().zip(state.chunks(value_len)) {
                change.iter_mut().zip(state).for_each(|(x, &s)| *x += -(k * s));
            }
            let beta = beta[(image * time + step) * width + head % width];
            change.iter_mut().for_each(|x| *x *= beta);
        }
        for (&k, state) in key.iter().zip(state.chunks_mut(value_len)) {
            state.iter_mut().zip(&change).for_each(|(s, &x)| *s += k * x);
        }
        for (member, out) in out.chunks_mut(value_len).enumerate() {
            let query = &inputs.query[(at * group + member) * key_len..][..key_len];
            for (&q, state) in query.iter().zip(state.chunks(value_len)) {
                let q = q * inputs.scale;
                out.iter_mut().zip(state).for_each(|(x, &s)| *x += q * s);
            }
        }
    }
}

fn causal_conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, weight) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let mismatch = |why| Error::ShapeMismatch {
        left: x.shape().to_vec(),
        right: weight.shape().to_vec(),
        why,
    };
    let (&[batch, channels, len], &[outputs, one, taps]) = (x.shape(), weight.shape()) else {
        return Err(mismatch("input and weights must have 3 dimensions"));
    };
    if outputs != channels || one != 1 || taps == 0 {
        return Err(mismatch("weights must be [channels, 1, taps]"));
    }
    for index in 1..4 {
        let other = ctx.optional_tensor(index)?;
        if let Some(other) = other.filter(|other| other.dtype() != x.dtype()) {
            return Err(unsupported(index, other.dtype(), x.dtype().name()));
        }
    }
    if let Some(bias) = ctx.optional_tensor(2)?.filter(|bias| *bias.shape() != [channels]) {
        return Err(Error::invalid(format!(
            "the bias must have shape [{channels}], found {:?}",
            bias.shape()
        )));
    }
    let is_active = match ctx.text("activation", "none")? {
        "none" => false,
        "silu" | "swish" => true,
        other => return Err(ctx.bad_attribute("activation", format!("is unknown: {other:?}"))),
    };
    let state_shape = [batch, channels, taps - 1];
    let past = match ctx.optional_tensor(3)? {
        Some(past) if *past.shape() == state_shape => past.clone(),
        None => Tensor::zeros(&state_shape, x.dtype())?,
        Some(past) => {
            return Err(Error::ShapeMismatch {
                left: state_shape.to_vec(),
                right: past.shape().to_vec(),
                why: "the past state must be [batch, channels, taps - 1]",
            });
        }
    };
    let padded = concat(&[&past, x], 2)?;
    let y = match x.dtype().class() {
        Class::F32 => depthwise::<f32>(ctx, &padded, len, is_active)?,
        Class::F64 => depthwise::<f64>(ctx, &padded, len, is_active)?,
        _ => return Err(unsupported(0, x.dtype(), "a float")),
    };
    let y = y.reshape(&[batch, channels, len])?;
    Ok(vec![y.into(), slice(&padded, 2, len, taps - 1)?.into()])
}

/// `y[t] = bias + sum over taps of w[tap] padded[t + tap]`, row by row.
fn depthwise<T: Real>(
    ctx: &OpContext<'_>,
    padded: &Tensor,
    len: usize,
    is_active: bool,
) -> Result<Tensor> {
    let (channels, row_len) = (padded.shape()[1], padded.shape()[2]);
    let weight = T::widen(ctx.tensor(1)?)?;
    let taps = ctx.tensor(1)?.shape()[2];
    let bias = ctx.optional_tensor(2)?.map(|bias| T::widen(bias)).transpose()?;
    let padded_elements = T::widen(padded)?;
    let mut out = vec![T::default(); padded.shape()[0] * channels * len];
    parallel::whole_rows(&mut out, len, &|row, out| {
        let source = &padded_elements[row * row_len..(row + 1) * row_len];
        let channel = row % channels;
        if let Some(bias) = &bias {
            out.fill(bias[channel]);
        }
        for (tap, &w) in weight[channel * taps..(channel + 1) * taps].iter().enumerate() {
            out.iter_mut().zip(&source[tap..]).for_each(|(y, &x)| *y += w * x);
        }
        if is_active {
            out.iter_mut().for_each(|y| *y = silu(*y));
        }
    });
    let len = out.len();
    Tensor::computed(&[len], padded.dtype(), out)
}
