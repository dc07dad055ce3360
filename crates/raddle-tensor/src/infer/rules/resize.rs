//! Interpolation: lengths from scales or sizes.

use crate::convert::Compute;
use crate::infer::{Dims, Expr, InferContext};
use crate::{Result, shape};

/// `Resize` from opset 11 on.
pub fn resize(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let axes = match ctx.node.ints("axes")? {
        Some(list) => shape::axes(list, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    // An input that is there may still be empty.
    let is_list = |index: usize| ctx.has(index) && ctx.list_len(index) != Some(0);
    let mut out = dims.to_vec();
    if is_list(2) {
        let scales = ctx.tensor(2).and_then(|scales| Some(f64::widen(scales).ok()?.into_owned()));
        let scales = scales.filter(|scales| scales.len() == axes.len());
        for (at, &axis) in axes.iter().enumerate() {
            let scale = scales.as_ref().map(|scales| scales[at]);
            out[axis] = scaled(&dims[axis], scale).unwrap_or_else(|| ctx.unknown());
        }
        return Ok(Some(out));
    }
    let sizes = ctx.elements(3).filter(|sizes| sizes.len() == axes.len());
    let policy = ctx.node.text("keep_aspect_ratio_policy", "stretch")?;
    for (at, &axis) in axes.iter().enumerate() {
        out[axis] = match &sizes {
            Some(sizes) if policy == "stretch" => sizes[at].clone(),
            _ => ctx.unknown(),
        };
    }
    let lens: Option<Vec<usize>> = axes.iter().map(|&axis| dims[axis].as_len()).collect();
    let numbers: Option<Vec<i64>> =
        sizes.and_then(|sizes| sizes.iter().map(Expr::number).collect());
    if let (true, Some(lens), Some(sizes)) = (policy != "stretch", lens, numbers) {
        let ratios = lens.iter().zip(&sizes).map(|(&len, &size)| size as f64 / len as f64);
        let common = match policy {
            "not_larger" => ratios.fold(f64::INFINITY, f64::min),
            _ => ratios.fold(0.0, f64::max),
        };
        for (&axis, len) in axes.iter().zip(lens) {
            out[axis] = ((common * len as f64 + 0.5).floor() as usize).into();
        }
    }
    Ok(Some(out))
}

/// `Upsample`, and `Resize` of opset 10.
pub fn upsample(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let scales: Option<Vec<f64>> = match ctx.node.floats("scales")? {
        Some(scales) => Some(scales.iter().map(|&scale| scale.into()).collect()),
        None => ctx.tensor(1).and_then(|scales| Some(f64::widen(scales).ok()?.into_owned())),
    };
    let scale = |axis: usize| scales.as_ref().and_then(|scales| scales.get(axis).copied());
    let len = |axis: usize| scaled(&dims[axis], scale(axis)).unwrap_or_else(|| ctx.unknown());
    Ok(Some((0..dims.len()).map(len).collect()))
}

/// `floor(len * scale)`, if that is known.
fn scaled(len: &Expr, scale: Option<f64>) -> Option<Expr> {
    let scale = scale.filter(|scale| scale.is_finite())?;
    if let Some(len) = len.as_len() {
        let scaled = (len as f64 * scale).floor();
        return (0.0..=(1u64 << 48) as f64).contains(&scaled).then(|| (scaled as usize).into());
    }
    // A symbol times a small fraction: exact where the fraction is.
    [1i64, 2, 4, 8, 16].into_iter().find_map(|divisor| {
        let factor = scale * divisor as f64;
        let is_whole = factor.fract() == 0.0 && factor.abs() < (1u64 << 40) as f64;
        is_whole.then(|| len.times(&(factor as i64).into()).floor_div(&divisor.into()))
    })
}
