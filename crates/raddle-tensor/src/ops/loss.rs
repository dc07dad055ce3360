//! Losses of classification: `[batch, classes, …]` against `[batch, …]`.

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Int, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::{Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, op, parallel};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("NegativeLogLikelihoodLoss", 12..=LATEST)
        .inputs(2, 3)
        .attributes(&[("ignore_index", Int), ("reduction", Text)])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::loss)
        .run(negative_log_likelihood),
    op("SoftmaxCrossEntropyLoss", 12..=LATEST)
        .inputs(2, 3)
        .outputs(1, 2)
        .attributes(&[("ignore_index", Int), ("reduction", Text)])
        .result(Like(0), ShapeRule::Computed)
        .infer(rules::loss)
        .run(softmax_cross_entropy),
];

fn negative_log_likelihood(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    Ok(vec![loss(ctx, &f64::widen(x)?)?.into()])
}

fn softmax_cross_entropy(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let inner: usize = x.shape().iter().skip(2).product();
    let classes = x.shape().get(1).copied().unwrap_or(0);
    let mut logarithms = f64::widen(x)?.into_owned();
    parallel::parts(&mut logarithms, classes * inner, &|_, block| log_softmax(block, inner));
    let loss = loss(ctx, &logarithms)?;
    let logarithms = if ctx.wants(1) {
        Tensor::computed(x.shape(), x.dtype(), logarithms)?
    } else {
        Tensor::zeros(&[0], x.dtype())?
    };
    Ok(vec![loss.into(), logarithms.into()])
}

/// Along the first dimension of `block: [classes, inner]`.
fn log_softmax(block: &mut [f64], inner: usize) {
    let mut largest = vec![f64::NEG_INFINITY; inner];
    for row in block.chunks(inner) {
        largest.iter_mut().zip(row).for_each(|(max, &x)| *max = max.max(x));
    }
    let mut sums = vec![0.0; inner];
    for row in block.chunks(inner) {
        for ((sum, x), max) in sums.iter_mut().zip(row).zip(&largest) {
            *sum += (x - max).exp();
        }
    }
    for row in block.chunks_mut(inner) {
        for ((x, max), sum) in row.iter_mut().zip(&largest).zip(&sums) {
            *x = *x - max - sum.ln();
        }
    }
}

/// `-weight[target] x[target]` for each place, then reduced as the node says.
/// Places with the target `ignore_index` weigh nothing.
fn loss(ctx: &OpContext<'_>, x: &[f64]) -> Result<Tensor> {
    let (input, target) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let unfit = |why| Error::ShapeMismatch {
        left: input.shape().to_vec(),
        right: target.shape().to_vec(),
        why,
    };
    let (&[batch, classes], inner) =
        input.shape().split_first_chunk().ok_or_else(|| unfit("input 0 must have 2 dimensions"))?;
    if target.shape().first() != Some(&batch) || &target.shape()[1..] != inner {
        return Err(unfit("targets must have the shape of input 0 without that of the classes"));
    }
    let weights = ctx.optional_tensor(2)?.map(f64::widen).transpose()?;
    if let Some(weights) = weights.as_ref().filter(|weights| weights.len() != classes) {
        return Err(Error::invalid(format!("expected {classes} weights, found {}", weights.len())));
    }
    let ignored = ctx.optional_int("ignore_index")?;
    let inner: usize = inner.iter().product();
    let (mut losses, mut weight_sum) = (Vec::with_capacity(target.len()), 0.0);
    for (at, &class) in target.to_i64s()?.iter().enumerate() {
        if Some(class) == ignored {
            losses.push(0.0);
            continue;
        }
        let own = usize::try_from(class).ok().filter(|&own| own < classes);
        let own = own.ok_or(Error::Index { index: class, len: classes })?;
        let weight = weights.as_ref().map_or(1.0, |weights| weights[own]);
        losses.push(-weight * x[(at / inner * classes + own) * inner + at % inner]);
        weight_sum += weight;
    }
    let reduced = match ctx.text("reduction", "mean")? {
        "none" => return Tensor::computed(target.shape(), input.dtype(), losses),
        "sum" => losses.iter().sum(),
        "mean" => losses.iter().sum::<f64>() / weight_sum,
        other => return Err(ctx.bad_attribute("reduction", format!("is unknown: {other:?}"))),
    };
    Tensor::computed(&[], input.dtype(), vec![reduced])
}
