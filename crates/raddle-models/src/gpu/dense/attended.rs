//! Attention in one launch, where the kernels have it.

use raddle::device::{bf16, f16};
use raddle_kernels::attention::{Attention, Layout, MaskKind, attend_words};
use raddle_kernels::dense::Arithmetic;
use raddle_tensor::DType;
use raddle_tensor::graph::{Attribute, NodeId};

use super::attention::Heads;
use super::call::Call;
use super::value::{Dense, Kit};
use super::{Failure, Made};
use crate::gpu::plan::is;

impl Call<'_, '_> {
    /// The results of an attention in one launch; `None` where there is no kernel for it.
    pub fn attention_at_once(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let dtype = self.outline(0)?.0;
        let is_plain = !self.wants(3)
            && !self.has(6)
            && self.ctx.float("softcap", 0.0)? == 0.0
            && self.kit().has_attention(dtype);
        if !is_plain || [1, 2].into_iter().any(|at| self.outline(at).is_ok_and(|x| x.0 != dtype)) {
            return Ok(None);
        }
        let Some(mut shape) = self.attention_shape()? else { return Ok(None) };
        shape.is_causal = self.ctx.flag("is_causal", false)?;
        shape.scale = match self.node.attribute("scale") {
            Some(_) => self.ctx.float("scale", 1.0)?,
            None => 1.0 / (shape.sizes[0] as f32).sqrt(),
        };
        if !self.kit().is_attended(dtype, &shape) {
            return Ok(None);
        }
        let mask = match self.has(3) {
            true => match self.mask(dtype, &shape)? {
                Some(mask) => Some(mask),
                None => return Ok(None),
            },
            false => None,
        };
        let Heads { q, k, v, .. } = self.heads()?;
        let is_packed = self.outline(0)?.1.len() == 3;
        let turned = self.turned().filter(|_| !is_packed);
        if turned.is_some() {
            shape.layouts[3] = Layout::Rows;
        }
        let y = self.kit().attended(shape, [&q, &k, &v], mask.as_ref())?;
        if let Some(id) = turned {
            self.leave(&[id], y.into());
            return Ok(Some(Vec::new()));
        }
        let [batch, len, heads, size] = y.shape[..] else { unreachable!("results are of heads") };
        let y = if is_packed { y.reshaped(&[batch, len, heads * size])? } else { y };
        Ok(Some(vec![y.into(), k.into(), v.into()]))
    }

    /// The node that alone reads the result, if all that it does is to put heads of rows
    /// beside each other; nothing else is wanted of this one.
    fn turned(&self) -> Option<NodeId> {
        let &[Some(result)] = &self.node.outputs[..] else { return None };
        let (id, reader) = self.lowering().only_reader(result)?;
        let is_turned = is(reader, "Transpose")
            && matches!(reader.attribute("perm"), Some(Attribute::Ints(p)) if p[..] == [0, 2, 1, 3]);
        is_turned.then_some(id)
    }

    /// The shape, without scale and bounds, of operands of heads; `None` where they do not go
    /// together. Results of heads that lay beside each other do so too.
    fn attention_shape(&mut self) -> Result<Option<Attention>, Failure> {
        let names = ["q_num_heads", "kv_num_heads", "kv_num_heads"];
        let mut dims = [[0; 4]; 3];
        let is_packed = self.outline(0)?.1.len() == 3;
        for at in 0..3 {
            dims[at] = match self.outline(at)?.1[..] {
                [batch, heads, len, size] => [batch, heads, len, size],
                [batch, len, width] => {
                    let heads = usize::try_from(self.ctx.int(names[at], 0)?).unwrap_or(0);
                    if heads == 0 || !width.is_multiple_of(heads) {
                        return Ok(None);
                    }
                    [batch, heads, len, width / heads]
                }
                _ => return Ok(None),
            };
        }
        let [q, k, v] = dims;
        let past = match self.has(4) {
            true => self.outline(4)?.1.get(2).copied().unwrap_or(0),
            false => 0,
        };
        if k[..3] != v[..3] || q[0] != k[0] || q[3] != k[3] || self.has(4) != self.has(5) {
            return Ok(None);
        }
        let out = if is_packed { Layout::Rows } else { Layout::Heads };
        Ok(Some(Attention {
            images: q[0],
            heads: [q[1], k[1]],
            lens: [q[2], past + k[2]],
            sizes: [q[3], v[3]],
            layouts: [Layout::Heads, Layout::Heads, Layout::Heads, out],
            scale: 1.0,
            is_causal: false,
            past,
        }))
    }

    /// The mask with its steps; `None` for one that no kernel has: of another type, or of
    /// fewer keys than there are.
    fn mask(
        &mut self,
        dtype: DType,
        of: &Attention,
    ) -> Result<Option<(MaskKind, Dense, [usize; 4])>, Failure> {
        let (mask_dtype, dims) = self.outline(3)?;
        let kind = match mask_dtype {
            DType::Bool => MaskKind::Bool,
            own if own == dtype => MaskKind::Added,
            _ => return Ok(None),
        };
        let whole = [of.images, of.heads[0], of.lens[0], of.lens[1]];
        let repeats = self.ctx.opset() < 24;
        let is_whole = match dims.last() {
            Some(&known) => known == of.lens[1] || known == 1 && repeats,
            None => false,
        };
        if dims.len() > 4 || !is_whole {
            return Ok(None);
        }
        let mut steps = [0; 4];
        let mut step = 1;
        for (axis, &dim) in (0..4).rev().zip(dims.iter().rev()) {
            if dim != 1 && dim != whole[axis] {
                return Ok(None);
            }
            steps[axis] = if dim == 1 { 0 } else { step };
            step *= dim;
        }
        Ok(Some((kind, self.x(3)?, steps)))
    }
}

/// Calls a function of the kernels for a type that they have.
macro_rules! in_type {
    ($dtype:expr, |$ty:ident| $call:expr, $other:expr) => {
        match $dtype {
            DType::F16 => {
                type $ty = f16;
                $call
            }
            DType::BF16 => {
                type $ty = bf16;
                $call
            }
            DType::F32 => {
                type $ty = f32;
                $call
            }
            _ => $other,
        }
    };
}

impl Kit<'_> {
    /// Whether there are kernels for a type: those for `f32` round factors.
    fn has_attention(&self, dtype: DType) -> bool {
        match dtype {
            DType::F16 | DType::BF16 => true,
            DType::F32 => self.arithmetic == Arithmetic::TF32,
            _ => false,
        }
    }

    /// Whether there is a kernel for a shape.
    fn is_attended(&self, dtype: DType, shape: &Attention) -> bool {
        in_type!(dtype, |T| shape.method::<T>(self.stream).is_some(), false)
    }

    /// Launches an attention of heads that there is a kernel for; they are read where they
    /// lie. Results have the dimensions that their layout says.
    fn attended(
        &mut self,
        mut shape: Attention,
        operands: [&Dense; 3],
        mask: Option<&(MaskKind, Dense, [usize; 4])>,
    ) -> Result<Dense, Failure> {
        let mut words = Vec::new();
        for (at, dense) in operands.into_iter().enumerate() {
            let (from, first, layout) = lying(dense);
            shape.layouts[at] = layout;
            words.push((self.words(&from)?, first));
        }
        let [q, k, v] = [0, 1, 2].map(|at| (words[at].0.as_slice(), words[at].1));
        let mask_words = mask.map(|(_, mask, _)| self.words(mask)).transpose()?;
        let mask = mask.zip(mask_words.as_ref());
        let mask = mask.map(|((kind, _, steps), words)| (*kind, words.as_slice(), *steps));
        let dtype = operands[0].dtype;
        let unknown = || Failure::why(format!("there is no attention of {dtype}"));
        let words = in_type!(
            dtype,
            |T| attend_words::<T>(self.stream, &shape, [q, k, v], mask)?,
            return Err(unknown())
        );
        let [queries, heads, size] = [shape.lens[0], shape.heads[0], shape.sizes[1]];
        let out = match shape.layouts[3] {
            Layout::Rows => vec![shape.images, queries, heads, size],
            _ => vec![shape.images, heads, queries, size],
        };
        Ok(self.launched(out, dtype, words))
    }
}

/// Where heads lie: those that are only a view of something, there.
fn lying(heads: &Dense) -> (Dense, usize, Layout) {
    seen_heads(heads).unwrap_or_else(|| (heads.clone(), 0, Layout::Heads))
}

/// Where heads lie that are a view of something, if kernels can read them there: rows of
/// neighbours, in whole chunks of 16 bytes.
fn seen_heads(heads: &Dense) -> Option<(Dense, usize, Layout)> {
    let (from, first, strides) = heads.seen()?;
    let chunk = 16 >> heads.scalar().shift();
    let (&[.., size], &[image, head, row, element]) = (&heads.shape[..], &strides[..]) else {
        return None;
    };
    let steps = [image, head, row];
    let mut all = [size; 3];
    for (to, (&step, &dim)) in all.iter_mut().zip(steps.iter().zip(&heads.shape)) {
        if dim > 1 {
            *to = usize::try_from(step).ok().filter(|&step| step > 0)?;
        }
    }
    let first = usize::try_from(first).ok()?;
    let is_fit = (element == 1 || size == 1)
        && first.is_multiple_of(chunk)
        && all.iter().all(|step| step.is_multiple_of(chunk));
    is_fit.then_some((from, first, Layout::Steps(all)))
}
