//! Scaled dot-product attention over heads, with everything that ONNX allows
//! between the two products: masks, caches, groups of heads, soft caps.
//!
//! Scores exist for a few queries of one head at a time; only an operation that
//! asks for them as an output holds them all.

use std::borrow::Cow;

use super::elementwise::unsupported;
use super::linear::gemm;
use super::real::{Real, softmax};
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int};
use crate::infer::rules;
use crate::movement::{concat, transpose};
use crate::shape::{broadcast, broadcast_strides, element_count};
use crate::{
    Class, DType, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[op("Attention", 23..=LATEST)
    .inputs(3, 7)
    .outputs(1, 4)
    .attributes(&[
        ("is_causal", Int),
        ("kv_num_heads", Int),
        ("q_num_heads", Int),
        ("qk_matmul_output_mode", Int),
        ("scale", Float),
        ("softcap", Float),
        ("softmax_precision", Int),
    ])
    .result(Like(0), ShapeRule::Computed)
    .infer(rules::attention)
    .run(attention)];

/// Queries whose scores exist at the same time.
const QUERIES_PER_TILE: usize = 64;

/// Lengths of the dimensions of an attention.
struct Dims {
    batch: usize,
    query_heads: usize,
    /// Heads of keys and values; each serves as many query heads as all others.
    cache_heads: usize,
    query_len: usize,
    /// Keys and values, those of the past included.
    cache_len: usize,
    past_len: usize,
    key_len: usize,
    value_len: usize,
}

impl Dims {
    fn of(q: &Tensor, k: &Tensor, v: &Tensor, past_len: usize) -> Result<Self> {
        let [batch, query_heads, query_len, key_len] = q.shape()[..] else {
            unreachable!("heads were split")
        };
        let (cache_heads, cache_len, value_len) = (k.shape()[1], k.shape()[2], v.shape()[3]);
        if k.shape()[0] != batch || k.shape()[3] != key_len {
            return Err(mismatch(q, k, "queries and keys must agree in batch and head size"));
        }
        if v.shape()[..3] != k.shape()[..3] {
            return Err(mismatch(k, v, "keys and values must agree in batch, heads and length"));
        }
        if !query_heads.is_multiple_of(cache_heads) {
            return Err(mismatch(q, k, "heads of queries must be a multiple of heads of keys"));
        }
        Ok(Self {
            batch,
            query_heads,
            cache_heads,
            query_len,
            cache_len,
            past_len,
            key_len,
            value_len,
        })
    }

    /// The head of keys and values that serves head `head` of all query heads.
    fn cache_of(&self, head: usize) -> usize {
        let (image, head) = (head / self.query_heads, head % self.query_heads);
        image * self.cache_heads + head / (self.query_heads / self.cache_heads)
    }
}

fn mismatch(left: &Tensor, right: &Tensor, why: &'static str) -> Error {
    Error::ShapeMismatch { left: left.shape().to_vec(), right: right.shape().to_vec(), why }
}

fn attention(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    for index in 0..3 {
        let dtype = ctx.tensor(index)?.dtype();
        if !dtype.is_float() || (index == 1 && dtype != ctx.tensor(0)?.dtype()) {
            return Err(unsupported(index, dtype, "a float, the same for queries and keys"));
        }
    }
    let q = split_heads(ctx, 0, "q_num_heads")?;
    let k = split_heads(ctx, 1, "kv_num_heads")?;
    let v = split_heads(ctx, 2, "kv_num_heads")?;
    let is_packed = ctx.tensor(0)?.rank() == 3;
    if (1..3).any(|index| ctx.tensor(index).is_ok_and(|x| (x.rank() == 3) != is_packed)) {
        return Err(Error::invalid("queries, keys and values must be of one rank"));
    }
    if ctx.has(4) != ctx.has(5) || (ctx.has(6) && ctx.has(4)) {
        return Err(Error::invalid(
            "past keys and past values come together, and never with lengths of the cache",
        ));
    }
    let past_len = ctx.optional_tensor(4)?.and_then(|past| past.shape().get(2)).map_or(0, |x| *x);
    let (k, v) = (with_past(ctx, 4, k)?, with_past(ctx, 5, v)?);
    let dims = Dims::of(&q, &k, &v, past_len)?;
    let precision = ctx.dtype_attribute("softmax_precision")?.unwrap_or(q.dtype());
    if !matches!(precision, DType::F64 | DType::F32 | DType::F16 | DType::BF16) {
        return Err(ctx.bad_attribute("softmax_precision", format!("names {precision}, no float")));
    }
    let is_wide = [q.dtype(), v.dtype(), precision].contains(&DType::F64);
    let (y, scores) = if is_wide {
        attend::<f64>(ctx, &dims, [&q, &k, &v])?
    } else {
        attend::<f32>(ctx, &dims, [&q, &k, &v])?
    };
    let y = if is_packed {
        let joined = [dims.batch, dims.query_len, dims.query_heads * dims.value_len];
        transpose(&y, &[0, 2, 1, 3])?.reshape(&joined)?
    } else {
        y
    };
    Ok(vec![y.into(), k.into(), v.into(), scores.into()])
}

/// An input as `[batch, heads, length, size]`; one of rank 3 has its heads side
/// by side in the last dimension.
fn split_heads(ctx: &OpContext<'_>, index: usize, name: &str) -> Result<Tensor> {
    let x = ctx.tensor(index)?;
    match *x.shape() {
        [_, _, _, _] => Ok(x.clone()),
        [batch, len, width] => {
            let heads = count_attribute(ctx, name)?;
            if !width.is_multiple_of(heads) {
                let why = format!("is {heads}, which does not divide {width} of input {index}");
                return Err(ctx.bad_attribute(name, why));
            }
            let split = x.clone().reshape(&[batch, len, heads, width / heads])?;
            transpose(&split, &[0, 2, 1, 3])
        }
        _ => Err(Error::invalid(format!(
            "input {index} must have 3 or 4 dimensions, found shape {:?}",
            x.shape()
        ))),
    }
}

/// A required attribute that counts something.
pub fn count_attribute(ctx: &OpContext<'_>, name: &str) -> Result<usize> {
    match ctx.optional_int(name)? {
        Some(count) if count > 0 => Ok(count as usize),
        Some(count) => Err(ctx.bad_attribute(name, format!("must be positive, found {count}"))),
        None => Err(ctx.bad_attribute(name, "is required")),
    }
}

/// Keys or values behind those of the past, if input `index` has any.
fn with_past(ctx: &OpContext<'_>, index: usize, new: Tensor) -> Result<Tensor> {
    match ctx.optional_tensor(index)? {
        Some(past) => concat(&[past, &new], 2),
        None => Ok(new),
    }
}

/// What is added to scores.
enum Mask<'a, T: Clone> {
    /// Whether a key takes part.
    Bool(&'a [bool]),
    Bias(Cow<'a, [T]>),
}

/// A mask and how it broadcasts.
struct Masking<'a, T: Clone> {
    mask: Mask<'a, T>,
    /// Steps along batch, heads and queries.
    strides: [usize; 3],
    /// Keys that the mask knows; later ones take no part.
    known: usize,
    /// Step along keys: 0 if one value stands for all.
    step: usize,
}

/// How far scores are computed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Stage {
    Product,
    Capped,
    Masked,
    Probabilities,
}

/// Everything that scores are made of.
struct Scores<'a, T: Clone> {
    dims: &'a Dims,
    /// Scaled queries: `[batch, query heads, queries, key size]`.
    queries: Vec<T>,
    /// Transposed keys: `[batch, cache heads, key size, keys]`.
    keys: Cow<'a, [T]>,
    softcap: T,
    masking: Option<Masking<'a, T>>,
    is_causal: bool,
    /// Keys of each batch entry that are no padding.
    valid: Option<Vec<usize>>,
}

/// The attention's output and the scores, which are empty unless wanted.
fn attend<T: Real>(
    ctx: &OpContext<'_>,
    dims: &Dims,
    [q, k, v]: [&Tensor; 3],
) -> Result<(Tensor, Tensor)> {
    let default_scale = 1.0 / (dims.key_len as f64).sqrt();
    let scale = match ctx.node.attribute("scale") {
        Some(_) => f64::from(ctx.float("scale", 1.0)?),
        None => default_scale,
    };
    let transposed = transpose(k, &[0, 1, 3, 2])?;
    let scores = Scores {
        dims,
        queries: T::widen(q)?.iter().map(|&x| x * T::of(scale)).collect(),
        keys: T::widen(&transposed)?,
        softcap: T::of(f64::from(ctx.float("softcap", 0.0)?)),
        masking: masking(ctx, dims)?,
        is_causal: ctx.flag("is_causal", false)?,
        valid: valid_lens(ctx, dims)?,
    };
    let values = T::widen(v)?;
    let shape = [dims.batch, dims.query_heads, dims.query_len, dims.value_len];
    let mut out = vec![T::default(); element_count(&shape, q.dtype())?];
    let value_len = dims.value_len;
    let plane = dims.cache_len * value_len;
    parallel::parts(&mut out, dims.query_len * value_len, &|head, out| {
        let cache = dims.cache_of(head);
        let values = &values[cache * plane..(cache + 1) * plane];
        parallel::parts(out, QUERIES_PER_TILE * value_len, &|tile, out| {
            let rows = out.len() / value_len;
            let mut tile_scores = vec![T::default(); rows * dims.cache_len];
            let first = tile * QUERIES_PER_TILE;
            scores.compute(head, first, &mut tile_scores, Stage::Probabilities);
            gemm(&tile_scores, values, out, [rows, dims.cache_len, value_len]);
        });
    });
    let y = Tensor::computed(&shape, q.dtype(), out)?;
    let stage = match ctx.int("qk_matmul_output_mode", 0)? {
        0 => Stage::Product,
        1 => Stage::Capped,
        2 => Stage::Masked,
        3 => Stage::Probabilities,
        other => {
            let why = format!("must be 0 to 3, found {other}");
            return Err(ctx.bad_attribute("qk_matmul_output_mode", why));
        }
    };
    if !ctx.wants(3) {
        return Ok((y, Tensor::zeros(&[0], q.dtype())?));
    }
    let shape = [dims.batch, dims.query_heads, dims.query_len, dims.cache_len];
    let mut all = vec![T::default(); element_count(&shape, q.dtype())?];
    parallel::parts(&mut all, dims.query_len * dims.cache_len, &|head, out| {
        scores.compute(head, 0, out, stage);
    });
    Ok((y, Tensor::computed(&shape, q.dtype(), all)?))
}

impl<T: Real> Scores<'_, T> {
    /// Scores of a head's queries from `first` on: `out: [queries, keys]`.
    fn compute(&self, head: usize, first: usize, out: &mut [T], stage: Stage) {
        let Dims { query_len, query_heads, cache_len, past_len, key_len, .. } = *self.dims;
        if cache_len == 0 {
            return;
        }
        let rows = out.len() / cache_len;
        let queries = &self.queries[(head * query_len + first) * key_len..][..rows * key_len];
        let plane = key_len * cache_len;
        let keys = &self.keys[self.dims.cache_of(head) * plane..][..plane];
        gemm(queries, keys, out, [rows, key_len, cache_len]);
        if stage == Stage::Product {
            return;
        }
        if self.softcap != T::default() {
            out.iter_mut().for_each(|x| *x = self.softcap * (*x / self.softcap).tanh());
        }
        if stage == Stage::Capped {
            return;
        }
        let (image, own_head) = (head / query_heads, head % query_heads);
        let valid = self.valid.as_ref().map_or(cache_len, |valid| valid[image]);
        for (at, row) in out.chunks_mut(cache_len).enumerate() {
            if let Some(masking) = &self.masking {
                masking.apply([image, own_head, first + at], row);
            }
            let seen = if self.is_causal { past_len + first + at + 1 } else { cache_len };
            let seen = seen.min(valid).min(cache_len);
            row[seen..].fill(T::NEG_INFINITY);
            if stage == Stage::Probabilities {
                softmax(row);
            }
        }
    }
}

impl<T: Real> Masking<'_, T> {
    fn apply(&self, at: [usize; 3], row: &mut [T]) {
        let start: usize = at.iter().zip(self.strides).map(|(at, stride)| at * stride).sum();
        let known = self.known.min(row.len());
        let (row, unknown) = row.split_at_mut(known);
        unknown.fill(T::NEG_INFINITY);
        match &self.mask {
            Mask::Bool(takes_part) => {
                for (key, x) in row.iter_mut().enumerate() {
                    if !takes_part[start + key * self.step] {
                        *x = T::NEG_INFINITY;
                    }
                }
            }
            Mask::Bias(bias) => {
                for (key, x) in row.iter_mut().enumerate() {
                    *x += bias[start + key * self.step];
                }
            }
        }
    }
}

/// The mask, which broadcasts to `[batch, query heads, queries, keys]`. From
/// opset 24 on it may know fewer keys than there are.
fn masking<'a, T: Real>(ctx: &'a OpContext<'_>, dims: &Dims) -> Result<Option<Masking<'a, T>>> {
    let Some(mask) = ctx.optional_tensor(3)? else { return Ok(None) };
    let target = [dims.batch, dims.query_heads, dims.query_len];
    let unfit = || Error::ShapeMismatch {
        left: [&target[..], &[dims.cache_len]].concat(),
        right: mask.shape().to_vec(),
        why: "the mask must broadcast to [batch, heads, queries, keys]",
    };
    let (&known, outer) = mask.shape().split_last().ok_or_else(unfit)?;
    let repeats = known == 1 && ctx.opset() < 24;
    let is_short = known < dims.cache_len && !repeats;
    if outer.len() > 3 || known > dims.cache_len && !repeats {
        return Err(unfit());
    }
    if broadcast(outer, &target).map_err(|_| unfit())? != target {
        return Err(unfit());
    }
    let strides = broadcast_strides(outer, &target);
    let elements = match mask.dtype().class() {
        Class::Bool => Mask::Bool(mask.elements::<bool>()?),
        _ => Mask::Bias(T::widen(mask)?),
    };
    Ok(Some(Masking {
        mask: elements,
        strides: [0, 1, 2].map(|axis| strides[axis] * known),
        known: if is_short { known } else { dims.cache_len },
        step: usize::from(!repeats),
    }))
}

/// The numbers of keys of each batch entry that are no padding.
fn valid_lens(ctx: &OpContext<'_>, dims: &Dims) -> Result<Option<Vec<usize>>> {
    let Some(lens) = ctx.optional_i64s(6)? else { return Ok(None) };
    if lens.len() != dims.batch {
        return Err(Error::invalid(format!(
            "input 6 must have one length for each of {} batch entries, found {}",
            dims.batch,
            lens.len()
        )));
    }
    let valid = lens.iter().map(|&len| {
        let fits = usize::try_from(len).ok().filter(|&len| len <= dims.cache_len);
        fits.ok_or_else(|| {
            Error::invalid(format!("length {len} of input 6 is not within {}", dims.cache_len))
        })
    });
    valid.collect::<Result<_>>().map(Some)
}
