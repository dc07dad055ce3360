//! Normalisation: batch and layer normalisation, softmax.

use super::elementwise::unsupported;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, Ints};
use crate::convert::Compute;
use crate::infer::rules;
use crate::{
    Class, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
    shape, vector,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("BatchNormalization", 7..=LATEST)
        .inputs(5, 5)
        .outputs(1, 5)
        .attributes(&[
            ("epsilon", Float),
            ("momentum", Float),
            ("spatial", Int),
            ("training_mode", Int),
        ])
        .result(Like(0), ShapeRule::Like(0))
        .infer(rules::batch_norm)
        .over()
        .run(batch_normalization),
    op("LayerNormalization", 17..=LATEST)
        .inputs(2, 3)
        .outputs(1, 3)
        .attributes(&[("axis", Int), ("epsilon", Float), ("stash_type", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .infer(rules::layer_norm)
        .run(layer_normalization),
    op("Softmax", 1..=LATEST)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| softmax(ctx, &Form::Probabilities)),
    op("LogSoftmax", 1..=LATEST)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| softmax(ctx, &Form::Logarithms)),
    op("Hardmax", 1..=LATEST)
        .attributes(&[("axis", Int)])
        .result(Like(0), ShapeRule::Like(0))
        .run(|ctx| softmax(ctx, &Form::Largest)),
    op("MeanVarianceNormalization", 9..=LATEST)
        .attributes(&[("axes", Ints)])
        .result(Like(0), ShapeRule::Like(0))
        .run(mean_variance),
];

/// `scale (x - mean) / sqrt(variance + epsilon) + bias` for each channel.
fn batch_normalization(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let channels = if x.rank() > 1 { x.shape()[1] } else { 1 };
    let plane_len: usize = x.shape().iter().skip(2).product();
    let mut parameters = Vec::new();
    for index in 1..5 {
        let parameter = f64::widen(ctx.tensor(index)?)?.into_owned();
        if parameter.len() != channels {
            return Err(Error::invalid(format!(
                "input {index} must have {channels} elements, found {}",
                parameter.len()
            )));
        }
        parameters.push(parameter);
    }
    let epsilon = f64::from(ctx.float("epsilon", 1e-5)?);
    let is_training = ctx.flag("training_mode", false)?;
    let mut running = None;
    if is_training {
        let momentum = f64::from(ctx.float("momentum", 0.9)?);
        let (mean, variance) = channel_statistics(&f64::widen(x)?, channels, plane_len);
        let mix = |old: &[f64], new: &[f64]| -> Vec<f64> {
            old.iter().zip(new).map(|(old, new)| old * momentum + new * (1.0 - momentum)).collect()
        };
        running = Some((mix(&parameters[2], &mean), mix(&parameters[3], &variance)));
        parameters[2] = mean;
        parameters[3] = variance;
    } else if ctx.output_count() > 1 {
        return Err(Error::invalid("statistics are outputs in training mode only"));
    }
    let [scale, bias, mean, variance] = &parameters[..] else { unreachable!("four were read") };
    let factor: Vec<f64> =
        scale.iter().zip(variance).map(|(scale, v)| scale / (v + epsilon).sqrt()).collect();
    let offset: Vec<f64> = (0..channels).map(|at| bias[at] - mean[at] * factor[at]).collect();
    let y = scale_channels(x, &factor, &offset, plane_len)?;
    let mut outputs = vec![y.into()];
    if let Some((mean, variance)) = running {
        for (index, elements) in [(3, mean), (4, variance)] {
            let dtype = ctx.tensor(index)?.dtype();
            outputs.push(Tensor::computed(&[channels], dtype, elements)?.into());
        }
    }
    Ok(outputs)
}

/// `factor x + offset` with one factor and one offset for each channel.
fn scale_channels(x: &Tensor, factor: &[f64], offset: &[f64], plane_len: usize) -> Result<Tensor> {
    let channels = factor.len();
    match x.dtype().class() {
        Class::F32 => {
            let mut y = f32::widen(x)?.into_owned();
            parallel::rows(&mut y, plane_len, &|plane, _, piece| {
                let at = plane % channels;
                let (factor, offset) = (factor[at] as f32, offset[at] as f32);
                piece.iter_mut().for_each(|x| *x = *x * factor + offset);
            });
            Tensor::computed(x.shape(), x.dtype(), y)
        }
        Class::F64 => {
            let mut y = f64::widen(x)?.into_owned();
            parallel::rows(&mut y, plane_len, &|plane, _, piece| {
                let at = plane % channels;
                piece.iter_mut().for_each(|x| *x = *x * factor[at] + offset[at]);
            });
            Tensor::computed(x.shape(), x.dtype(), y)
        }
        _ => Err(unsupported(0, x.dtype(), "a float")),
    }
}

/// Mean and biased variance of each channel over batch and planes.
fn channel_statistics(x: &[f64], channels: usize, plane_len: usize) -> (Vec<f64>, Vec<f64>) {
    let count = (x.len() / channels.max(1)) as f64;
    let mut sums = vec![0.0; channels];
    for (plane, elements) in x.chunks(plane_len.max(1)).enumerate() {
        sums[plane % channels] += elements.iter().sum::<f64>();
    }
    let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let mut squares = vec![0.0; channels];
    for (plane, elements) in x.chunks(plane_len.max(1)).enumerate() {
        let mean = mean[plane % channels];
        squares[plane % channels] += elements.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
    }
    (mean, squares.iter().map(|sum| sum / count).collect())
}

fn layer_normalization(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, scale, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let axis = ctx.axis("axis", -1, x.rank())?;
    let epsilon = f64::from(ctx.float("epsilon", 1e-5)?);
    let (outer, inner) = x.shape().split_at(axis);
    let rows: usize = outer.iter().product();
    let row_len: usize = inner.iter().product();
    let spread = |tensor: &Tensor| -> Result<Vec<f64>> {
        if shape::broadcast(tensor.shape(), inner)? != inner {
            return Err(Error::ShapeMismatch {
                left: inner.to_vec(),
                right: tensor.shape().to_vec(),
                why: "scale and bias must broadcast to the normalised dimensions",
            });
        }
        Ok(f64::widen(&crate::movement::expand(tensor, inner)?)?.into_owned())
    };
    let scale = spread(scale)?;
    let bias = bias.map(spread).transpose()?;
    if x.dtype().class() == Class::F32 && (1..3).all(|output| !ctx.wants(output)) {
        return one(layer_norm_narrow(x, (&scale, bias.as_deref()), row_len, epsilon));
    }
    let mut y = f64::widen(x)?.into_owned();
    let (mut means, mut inverses) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
    for row in y.chunks_mut(row_len.max(1)) {
        let mean = row.iter().sum::<f64>() / row_len as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row_len as f64;
        let inverse = (variance + epsilon).sqrt().recip();
        for (at, x) in row.iter_mut().enumerate() {
            *x = (*x - mean) * inverse * scale[at] + bias.as_ref().map_or(0.0, |bias| bias[at]);
        }
        means.push(mean);
        inverses.push(inverse);
    }
    let mut reduced = x.shape().to_vec();
    reduced[axis..].fill(1);
    let stash = match ctx.dtype_attribute("stash_type")? {
        Some(dtype) => dtype,
        None => crate::DType::F32,
    };
    Ok(vec![
        Tensor::computed(x.shape(), x.dtype(), y)?.into(),
        Tensor::computed(&reduced, stash, means)?.into(),
        Tensor::computed(&reduced, stash, inverses)?.into(),
    ])
}

/// Layer normalisation in `f32`, of which only the first output is wanted.
fn layer_norm_narrow(
    x: &Tensor,
    (scale, bias): (&[f64], Option<&[f64]>),
    row_len: usize,
    epsilon: f64,
) -> Result<Tensor> {
    let narrow = |list: &[f64]| -> Vec<f32> { list.iter().map(|&x| x as f32).collect() };
    let (scale, bias) = (narrow(scale), bias.map(narrow));
    let mut y = f32::widen(x)?.into_owned();
    parallel::whole_rows(&mut y, row_len, &|_, row| {
        vector::layer_norm(row, &scale, bias.as_deref(), epsilon as f32);
    });
    Tensor::computed(x.shape(), x.dtype(), y)
}

/// What a row of logits becomes.
enum Form {
    Probabilities,
    Logarithms,
    /// One at the largest, zero elsewhere.
    Largest,
}

/// Along one axis; up to opset 12 over all dimensions from the axis on.
fn softmax(ctx: &mut OpContext<'_>, form: &Form) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let is_flat = ctx.opset() < 13;
    let axis = ctx.axis("axis", if is_flat { 1 } else { -1 }, x.rank().max(1))?;
    let (len, step) = if is_flat {
        (x.shape().iter().skip(axis).product::<usize>(), 1)
    } else {
        (x.shape().get(axis).copied().unwrap_or(1), x.shape().iter().skip(axis + 1).product())
    };
    if let (Form::Probabilities, Class::F32, 1) = (form, x.dtype().class(), step) {
        let mut y = f32::widen(x)?.into_owned();
        parallel::whole_rows(&mut y, len, &|_, row| vector::softmax(row));
        return one(Tensor::computed(x.shape(), x.dtype(), y));
    }
    if let (Form::Probabilities, Class::F32) = (form, x.dtype().class()) {
        let mut y = f32::widen(x)?.into_owned();
        parallel::parts(&mut y, len * step, &|_, block| vector::softmax_columns(block, step));
        return one(Tensor::computed(x.shape(), x.dtype(), y));
    }
    let mut y = f64::widen(x)?.into_owned();
    parallel::parts(&mut y, len * step, &|_, block| {
        for start in 0..step {
            normalise(&mut block[start..], step, form);
        }
    });
    one(Tensor::computed(x.shape(), x.dtype(), y))
}

fn normalise(line: &mut [f64], step: usize, form: &Form) {
    let largest = line.iter().step_by(step).copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = line.iter().step_by(step).map(|x| (x - largest).exp()).sum();
    let mut is_found = false;
    for x in line.iter_mut().step_by(step) {
        *x = match form {
            Form::Probabilities => (*x - largest).exp() / sum,
            Form::Logarithms => *x - largest - sum.ln(),
            Form::Largest => {
                let is_first = *x == largest && !is_found;
                is_found |= is_first;
                f64::from(u8::from(is_first))
            }
        };
    }
}

fn mean_variance(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    if !x.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a float"));
    }
    let axes = shape::axes(ctx.ints("axes")?.unwrap_or(&[0, 2, 3]), x.rank())?;
    let mut y = f64::widen(x)?.into_owned();
    let group_of = |index: usize| {
        let at = super::window::coordinates(index, x.shape());
        (0..at.len())
            .filter(|axis| !axes.contains(axis))
            .fold(0, |g, axis| g * x.shape()[axis] + at[axis])
    };
    let groups: Vec<usize> = (0..y.len()).map(group_of).collect();
    let group_count = groups.iter().max().map_or(0, |last| last + 1);
    let (mut sums, mut squares) = (vec![0.0; group_count], vec![0.0; group_count]);
    let count = (y.len() / group_count.max(1)) as f64;
    for (x, &group) in y.iter().zip(&groups) {
        sums[group] += x / count;
    }
    for (x, &group) in y.iter().zip(&groups) {
        squares[group] += (x - sums[group]).powi(2) / count;
    }
    for (x, &group) in y.iter_mut().zip(&groups) {
        *x = (*x - sums[group]) / (squares[group].sqrt() + 1e-9);
    }
    one(Tensor::computed(x.shape(), x.dtype(), y))
}
