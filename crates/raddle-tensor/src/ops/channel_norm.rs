//! Normalisation over planes, groups of channels and neighbouring channels.

use super::elementwise::unsupported;
use crate::Kind::{Float, Int};
use crate::convert::Compute;
use crate::{
    DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("InstanceNormalization", 6..=LATEST)
        .inputs(3, 3)
        .attributes(&[("epsilon", Float)])
        .result(DTypeRule::Like(0), ShapeRule::Like(0))
        .run(|ctx| {
            let channels = channels_of(ctx.tensor(0)?)?;
            group_normalization(ctx, channels, channels)
        }),
    op("GroupNormalization", 18..=LATEST)
        .inputs(3, 3)
        .attributes(&[("epsilon", Float), ("num_groups", Int), ("stash_type", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Like(0))
        .run(|ctx| {
            let channels = channels_of(ctx.tensor(0)?)?;
            let groups = usize::try_from(ctx.int("num_groups", 0)?).unwrap_or(0);
            if groups == 0 || !channels.is_multiple_of(groups) {
                let why = format!("must divide the {channels} channels, found {groups}");
                return Err(ctx.bad_attribute("num_groups", why));
            }
            // Scale and bias were one for each group until opset 20.
            let parameters = if ctx.opset() < 21 { groups } else { channels };
            group_normalization(ctx, groups, parameters)
        }),
    op("LRN", 1..=LATEST)
        .attributes(&[("alpha", Float), ("beta", Float), ("bias", Float), ("size", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Like(0))
        .run(local_response),
    op("LpNormalization", 1..=LATEST)
        .attributes(&[("axis", Int), ("p", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Like(0))
        .run(lp_normalization),
];

fn channels_of(x: &Tensor) -> Result<usize> {
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    match x.shape() {
        [_, channels, ..] => Ok(*channels),
        found => Err(Error::invalid(format!("expected batch and channels, found shape {found:?}"))),
    }
}

/// `scale (x - mean) / sqrt(variance + epsilon) + bias` with the statistics of
/// each group of channels of each image.
fn group_normalization(
    ctx: &OpContext<'_>,
    groups: usize,
    parameters: usize,
) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let channels = x.shape()[1];
    let parameter = |index: usize| -> Result<Vec<f64>> {
        let list = super::control::numbers(ctx.tensor(index)?)?;
        if list.len() == parameters {
            return Ok(list);
        }
        let found = list.len();
        Err(Error::invalid(format!("input {index} must have {parameters} elements, found {found}")))
    };
    let (scale, bias) = (parameter(1)?, parameter(2)?);
    let epsilon = f64::from(ctx.float("epsilon", 1e-5)?);
    let plane_len: usize = x.shape()[2..].iter().product();
    let group_len = channels / groups.max(1) * plane_len;
    let mut y = f64::widen(x)?.into_owned();
    parallel::parts(&mut y, group_len.max(1), &|at, part| {
        let count = part.len() as f64;
        let mean = part.iter().sum::<f64>() / count;
        let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let inverse = (variance + epsilon).sqrt().recip();
        for (plane, elements) in part.chunks_mut(plane_len.max(1)).enumerate() {
            let channel = at % groups * (channels / groups) + plane;
            let own = channel * parameters / channels;
            let (factor, offset) = (scale[own] * inverse, bias[own]);
            elements.iter_mut().for_each(|x| *x = (*x - mean) * factor + offset);
        }
    });
    one(Tensor::computed(x.shape(), x.dtype(), y))
}

/// `x / (bias + alpha / size * sum of squares of neighbouring channels)^beta`.
fn local_response(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let channels = channels_of(x)?;
    let size = usize::try_from(ctx.int("size", 0)?).ok().filter(|&size| size > 0);
    let size = size.ok_or_else(|| ctx.bad_attribute("size", "must be positive"))?;
    let [alpha, beta, bias] = [
        f64::from(ctx.float("alpha", 1e-4)?) / size as f64,
        f64::from(ctx.float("beta", 0.75)?),
        f64::from(ctx.float("bias", 1.0)?),
    ];
    let plane_len: usize = x.shape()[2..].iter().product();
    let elements = f64::widen(x)?;
    let mut y = vec![0.0; elements.len()];
    let image_len = channels * plane_len;
    parallel::parts(&mut y, plane_len.max(1), &|plane, y| {
        let (image, channel) = (plane / channels, plane % channels);
        let first = channel.saturating_sub((size - 1) / 2);
        let last = channel.saturating_add(size / 2).min(channels - 1);
        let planes = &elements[image * image_len..(image + 1) * image_len];
        for near in first..=last {
            let near = &planes[near * plane_len..(near + 1) * plane_len];
            y.iter_mut().zip(near).for_each(|(sum, x)| *sum += x * x);
        }
        let own = &planes[channel * plane_len..(channel + 1) * plane_len];
        y.iter_mut().zip(own).for_each(|(sum, x)| *sum = x / (bias + alpha * *sum).powf(beta));
    });
    one(Tensor::computed(x.shape(), x.dtype(), y))
}

/// `x / norm` along an axis; zeros stay zeros.
fn lp_normalization(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let axis = ctx.axis("axis", -1, x.rank())?;
    let is_square = match ctx.int("p", 2)? {
        1 => false,
        2 => true,
        other => return Err(ctx.bad_attribute("p", format!("must be 1 or 2, found {other}"))),
    };
    let (len, step) = (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>());
    let mut y = f64::widen(x)?.into_owned();
    parallel::parts(&mut y, (len * step).max(1), &|_, block| {
        for start in 0..step {
            let line = || block[start..].iter().step_by(step);
            let norm = match is_square {
                true => line().map(|x| x * x).sum::<f64>().sqrt(),
                false => line().map(|x| x.abs()).sum::<f64>(),
            };
            if norm != 0.0 {
                block[start..].iter_mut().step_by(step).for_each(|x| *x /= norm);
            }
        }
    });
    one(Tensor::computed(x.shape(), x.dtype(), y))
}
