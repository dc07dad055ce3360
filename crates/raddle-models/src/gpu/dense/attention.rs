//! Scaled dot-product attention, as two products and what lies between them.

use raddle_kernels::dense::{Class, Function};
use raddle_tensor::{DType, Tensor};

use super::call::{Call, only};
use super::products::whole;
use super::value::{Dense, Strided};
use super::{Failure, Made};

/// Heads of queries, keys and values: `[batch, heads, length, size]`.
pub struct Heads {
    pub q: Dense,
    pub k: Dense,
    pub v: Dense,
    pub past_len: usize,
}

impl Call<'_, '_> {
    pub fn attentions(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        match self.node.op.name {
            "Attention" => self.attention(),
            "QLinearMatMul" => self.quantized_product(),
            _ => Ok(None),
        }
    }

    fn attention(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        if let Some(made) = self.attention_at_once()? {
            return Ok(Some(made));
        }
        let (dtype, shape) = self.outline(0)?;
        let heads = self.heads()?;
        let (batch, query_heads) = (heads.q.shape[0], heads.q.shape[1]);
        let (query_len, cache_len) = (heads.q.shape[2], heads.k.shape[2]);
        let value_len = heads.v.shape[3];
        let all = [batch, query_heads, query_len, cache_len];
        let product = self.scores(&heads)?.reshaped(&all)?;
        let softcap = f64::from(self.ctx.float("softcap", 0.0)?);
        let mut capped = product.clone();
        if softcap != 0.0 {
            let inner = self.affine(&product, 1.0 / softcap, 0.0)?;
            let bounded = self.one(Function::Tanh, &inner)?;
            capped = self.affine(&bounded, softcap, 0.0)?;
        }
        let masked = self.masked(&capped, heads.past_len)?;
        let probabilities = self.normalised(&masked, &[3], false)?;
        let groups = [batch, heads.k.shape[1], query_heads / heads.k.shape[1]];
        let rows = [&groups[..], &[query_len, cache_len]].concat();
        let rows = probabilities.reshaped(&rows)?;
        let values = self.wide_of(&heads.v)?;
        let values = self.kit().cast(&values, rows.dtype)?;
        let values = values.reshaped(&[batch, groups[1], 1, cache_len, value_len])?;
        let y = self.kit().matmul(&rows, &values, rows.dtype)?;
        let y = y.reshaped(&[batch, query_heads, query_len, value_len])?;
        let mut y = self.kit().cast(&y, dtype)?;
        if shape.len() == 3 {
            let turned = self.kit().transposed(&y, &[0, 2, 1, 3])?;
            y = turned.reshaped(&[batch, query_len, query_heads * value_len])?;
        }
        let scores = match self.ctx.int("qk_matmul_output_mode", 0)? {
            0 => product,
            1 => capped,
            2 => masked,
            3 => probabilities,
            other => return Err(Failure::why(format!("the output mode {other} is unknown"))),
        };
        let mut made = vec![y.into(), heads.k.into(), heads.v.into()];
        if self.wants(3) {
            made.push(self.kit().cast(&scores, dtype)?.into());
        }
        Ok(Some(made))
    }

    fn wide_of(&mut self, x: &Dense) -> Result<Dense, Failure> {
        let to = super::value::between(x.dtype);
        self.kit().cast(x, to)
    }

    pub fn heads(&mut self) -> Result<Heads, Failure> {
        let mut past_len = 0;
        let mut made = Vec::new();
        for (at, name) in [(0, "q_num_heads"), (1, "kv_num_heads"), (2, "kv_num_heads")] {
            let mut x = self.x(at)?;
            if let &[batch, len, width] = &x.shape[..] {
                let heads = self.ctx.int(name, 0)?;
                let heads = usize::try_from(heads).ok().filter(|&n| n > 0 && width % n == 0);
                let heads = heads.ok_or_else(|| Failure::why(format!("{name} does not fit")))?;
                let split = x.reshaped(&[batch, len, heads, width / heads])?;
                x = self.kit().transposed(&split, &[0, 2, 1, 3])?;
            }
            if x.rank() != 4 {
                return Err(Failure::why(format!("input {at} has shape {:?}", x.shape)));
            }
            if at > 0 && self.has(at + 3) {
                let past = self.x(at + 3)?;
                past_len = past.shape.get(2).copied().unwrap_or(0);
                x = self.kit().concatenated(&[&past, &x], 2)?;
            }
            made.push(x);
        }
        let [q, k, v] = <[Dense; 3]>::try_from(made).expect("three were made");
        let is_fit = k.shape[1] > 0
            && q.shape[1].is_multiple_of(k.shape[1])
            && q.shape[3] == k.shape[3]
            && v.shape[..3] == k.shape[..3];
        if !is_fit {
            let shapes = [&q, &k, &v].map(|x| x.shape.clone());
            return Err(Failure::why(format!("its operands have shapes {shapes:?}")));
        }
        Ok(Heads { q, k, v, past_len })
    }

    /// Products of scaled queries and keys: `[batch, cache heads, group, queries, keys]`.
    fn scores(&mut self, heads: &Heads) -> Result<Dense, Failure> {
        let (q, k) = (self.wide_of(&heads.q)?, self.wide_of(&heads.k)?);
        let &[batch, query_heads, query_len, key_len] = &q.shape[..] else {
            unreachable!("heads were split")
        };
        let scale = match self.node.attribute("scale") {
            Some(_) => f64::from(self.ctx.float("scale", 1.0)?),
            None => 1.0 / (key_len as f64).sqrt(),
        };
        let q = self.affine(&q, scale, 0.0)?;
        let (cache_heads, cache_len) = (k.shape[1], k.shape[2]);
        let group = query_heads / cache_heads;
        let q = q.reshaped(&[batch, cache_heads, group, query_len, key_len])?;
        let k = k.reshaped(&[batch, cache_heads, 1, cache_len, key_len])?;
        let mut turned = k.strides();
        turned.swap(3, 4);
        let right = Strided { strides: turned, ..whole(&k) };
        let shape = [batch, cache_heads, 1, key_len, cache_len];
        let (class, dtype) = (q.class(), q.dtype);
        self.kit().product([&whole(&q), &right], [&q.shape, &shape], class, dtype)
    }

    /// Scores with those of keys that take no part at negative infinity.
    fn masked(&mut self, scores: &Dense, past_len: usize) -> Result<Dense, Failure> {
        let &[batch, _, query_len, cache_len] = &scores.shape[..] else {
            unreachable!("scores have rank 4")
        };
        let mut scores = scores.clone();
        let never = self.kit().number(f64::NEG_INFINITY, scores.dtype)?;
        if self.has(3) {
            let mask = self.x(3)?;
            scores = self.with_mask(&scores, mask, &never)?;
        }
        if self.ctx.flag("is_causal", false)? {
            let one = self.kit().upload(&Tensor::scalar(true))?;
            let ones = self.kit().expanded(&one, &[query_len, cache_len])?;
            let seen = self.kit().triangle(&ones, past_len as i64, false)?;
            let operands = [&seen, &scores, &never];
            scores = self.kit().map_in(Class::I64, Function::Where, &operands, scores.dtype)?;
        }
        if self.has(6) {
            let lens = self.x(6)?;
            let lens = self.kit().cast(&lens, DType::I64)?.reshaped(&[batch, 1, 1, 1])?;
            let keys = self.counted(cache_len, 3, 4, DType::I64)?;
            let is_valid = self.kit().map(Function::Less, &[&keys, &lens], DType::Bool)?;
            let operands = [&is_valid, &scores, &never];
            scores = self.kit().map_in(Class::I64, Function::Where, &operands, scores.dtype)?;
        }
        Ok(scores)
    }

    /// From opset 24 on a mask may know fewer keys than there are.
    fn with_mask(&mut self, scores: &Dense, mask: Dense, never: &Dense) -> Result<Dense, Failure> {
        let mut mask = mask;
        let (keys, known) = (scores.shape[3], mask.shape.last().copied().unwrap_or(1));
        let is_bool = mask.dtype == DType::Bool;
        if !is_bool {
            mask = self.kit().cast(&mask, scores.dtype)?;
        }
        if known < keys && !(known == 1 && self.ctx.opset() < 24) {
            let mut shape = mask.shape.clone();
            shape[mask.rank() - 1] = keys;
            let begins = vec![0; mask.rank()];
            let fill = if is_bool { None } else { Some(never) };
            mask = self.kit().assembled((&shape, mask.dtype), fill, &[(&mask, begins)])?;
        }
        match is_bool {
            true => {
                let operands = [&mask, scores, never];
                self.kit().map_in(Class::I64, Function::Where, &operands, scores.dtype)
            }
            false => self.two(Function::Add, scores, &mask),
        }
    }

    /// A product of quantised matrices, scaled and quantised again.
    fn quantized_product(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let rank = self.outline(0)?.1.len();
        let x = self.centred(0, 2, rank.saturating_sub(2))?;
        let rank = self.outline(3)?.1.len();
        let y = self.centred(3, 5, rank.saturating_sub(1))?;
        let mut scales = Vec::new();
        for at in [1, 4, 6] {
            let scale = self.x(at)?;
            if scale.len() != 1 {
                return Err(Failure::why("scales of rows and columns have no kernel"));
            }
            scales.push(self.kit().cast(&scale.reshaped(&[])?, DType::F32)?);
        }
        let sums = self.kit().matmul(&x, &y, DType::I32)?;
        let sums = self.kit().cast(&sums, DType::F32)?;
        let scale = self.two(Function::Mul, &scales[0], &scales[1])?;
        let scale = self.two(Function::Div, &scale, &scales[2])?;
        let scaled = self.two(Function::Mul, &sums, &scale)?;
        let rounded = self.one(Function::Round, &scaled)?;
        let zero = self.x(7)?;
        let dtype = zero.dtype;
        let zero = self.kit().cast(&zero.reshaped(&[])?, DType::F32)?;
        let moved = self.two(Function::Add, &rounded, &zero)?;
        let y = self.saturated(&moved, dtype)?;
        only(y)
    }
}
