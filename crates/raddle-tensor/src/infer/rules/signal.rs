//! Signals, images, regions, random numbers, text.

use super::{Infos, count, required};
use crate::graph::Attribute;
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Result, shape};

/// The one number of an input.
fn single(ctx: &InferContext<'_>, index: usize) -> Option<Expr> {
    ctx.elements(index).filter(|all| all.len() == 1).map(|mut all| all.swap_remove(0))
}

/// `DFT`: the axis is an attribute until opset 19, an input since.
pub fn dft(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let axis = match (ctx.node.opset < 20, ctx.has(2)) {
        (true, _) => Some(ctx.node.int("axis", 1)?),
        (false, true) => single(ctx, 2).and_then(|axis| axis.number()),
        (false, false) => Some(-2),
    };
    let Some(axis) = axis else { return Ok(Some(ctx.unknowns(dims.len()))) };
    let axis = shape::axis(axis, dims.len())?;
    let (is_inverse, is_one_sided) =
        (ctx.node.flag("inverse", false)?, ctx.node.flag("onesided", false)?);
    let one = Expr::from(1usize);
    let len = match (ctx.has(1), is_inverse && is_one_sided) {
        (true, _) => single(ctx, 1).unwrap_or_else(|| ctx.unknown()),
        (false, true) => dims[axis].minus(&one).times(&2usize.into()).larger(&Expr::default()),
        (false, false) => dims[axis].clone(),
    };
    let mut out = dims.to_vec();
    out[axis] = match is_one_sided && !is_inverse {
        true => len.floor_div(&2usize.into()).plus(&one),
        false => len,
    };
    let parts = if is_one_sided && is_inverse { 1usize } else { 2 };
    out[dims.len() - 1] = parts.into();
    Ok(Some(out))
}

/// `STFT`.
pub fn stft(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([batch, samples, parts]) = ctx.dims(0) else { return Ok(Some(ctx.unknowns(4))) };
    let window = ctx.dims(2).and_then(|dims| dims.first().cloned());
    let len = if ctx.has(3) { single(ctx, 3) } else { window };
    let (one, two) = (Expr::from(1usize), Expr::from(2usize));
    let frames = single(ctx, 1).zip(len.as_ref());
    let frames = frames.map(|(hop, len)| samples.minus(len).floor_div(&hop).plus(&one));
    let is_one_sided = ctx.node.flag("onesided", true)? && !parts.is(2);
    let bins = len.map(|len| if is_one_sided { len.floor_div(&two).plus(&one) } else { len });
    let open = |dim: Option<Expr>| dim.unwrap_or_else(|| ctx.unknown());
    Ok(Some(vec![batch.clone(), open(frames), open(bins), two]))
}

/// Windows of a length that an input gives.
pub fn window_of(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = ctx.node.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let len = single(ctx, 0).unwrap_or_else(|| ctx.unknown());
    Ok(vec![Some(TensorInfo::new(dtype, vec![len]))])
}

/// `MelWeightMatrix`.
pub fn mel_weights(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = ctx.node.dtype_attribute("output_datatype")?.unwrap_or(DType::F32);
    let bins = single(ctx, 1).map(|len| len.floor_div(&2usize.into()).plus(&1usize.into()));
    let open = |dim: Option<Expr>| dim.unwrap_or_else(|| ctx.unknown());
    Ok(vec![Some(TensorInfo::new(dtype, vec![open(bins), open(single(ctx, 0))]))])
}

/// `DepthToSpace` and `SpaceToDepth`.
pub fn blocks(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([n, c, h, w]) = ctx.dims(0) else { return Ok(Some(ctx.unknowns(4))) };
    let block = ctx.node.optional_int("blocksize")?.ok_or_else(|| required("blocksize"))?;
    let block = Expr::from(block);
    let square = block.times(&block);
    Ok(Some(match ctx.node.op.name {
        "DepthToSpace" => {
            vec![n.clone(), c.floor_div(&square), h.times(&block), w.times(&block)]
        }
        _ => vec![n.clone(), c.times(&square), h.floor_div(&block), w.floor_div(&block)],
    }))
}

/// `CenterCropPad`: the second input along the axes.
pub fn center_crop_pad(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let axes = match ctx.node.ints("axes")? {
        Some(list) => shape::axes(list, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let target = ctx.elements(1);
    let mut out = dims.to_vec();
    for (at, &axis) in axes.iter().enumerate() {
        let len = target.as_ref().and_then(|target| target.get(at).cloned());
        out[axis] = len.unwrap_or_else(|| ctx.unknown());
    }
    Ok(Some(out))
}

/// `NonMaxSuppression`: as many rows as boxes are kept.
pub fn kept_boxes(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    Ok(Some(vec![ctx.unknown(), 3usize.into()]))
}

/// `NonZero`: a column for each element that is not zero.
pub fn non_zero(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let known = ctx.evaluate().and_then(|values| Some(values[0].as_tensor()?.shape()[1]));
    let found = known.map_or_else(|| ctx.unknown(), Expr::from);
    let Some(dims) = ctx.dims(0) else { return Ok(Some(vec![ctx.unknown(), found])) };
    Ok(Some(vec![dims.len().into(), found]))
}

/// `Compress`: as many as the condition holds for.
pub fn compress(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let kept = ctx.numbers(1).map(|all| all.iter().filter(|&&holds| holds != 0).count());
    let kept = kept.map_or_else(|| ctx.unknown(), Expr::from);
    let Some(axis) = ctx.node.optional_int("axis")? else { return Ok(Some(vec![kept])) };
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let mut out = dims.to_vec();
    out[shape::axis(axis, dims.len())?] = kept;
    Ok(Some(out))
}

/// `OneHot`.
pub fn one_hot(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let mut out = dims.to_vec();
    let axis = ctx.node.axis("axis", -1, dims.len() + 1)?;
    out.insert(axis, single(ctx, 1).unwrap_or_else(|| ctx.unknown()));
    Ok(Some(out))
}

/// `Unique`: parts, their first places, the way back, counts.
pub fn unique(ctx: &InferContext<'_>) -> Result<Infos> {
    let (Some(x), found) = (ctx.input(0), ctx.unknown()) else { return Ok(vec![None; 4]) };
    let (dims, items) = match (ctx.node.optional_int("axis")?, &x.dims) {
        (None, Some(dims)) => (Some(vec![found.clone()]), count(dims)),
        (None, None) => (Some(vec![found.clone()]), ctx.unknown()),
        (Some(axis), Some(dims)) => {
            let axis = shape::axis(axis, dims.len())?;
            let mut out = dims.clone();
            let items = std::mem::replace(&mut out[axis], found.clone());
            (Some(out), items)
        }
        (Some(_), None) => (None, ctx.unknown()),
    };
    let list = |len: &Expr| Some(TensorInfo::new(DType::I64, vec![len.clone()]));
    Ok(vec![Some(TensorInfo::new(x.dtype, dims)), list(&found), list(&items), list(&found)])
}

/// `GridSample`.
pub fn grid_sample(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some([n, c, ..]), Some([_, places @ .., _])) = (ctx.dims(0), ctx.dims(1)) else {
        return Ok(ctx.dims(0).map(|dims| ctx.unknowns(dims.len())));
    };
    Ok(Some([&[n.clone(), c.clone()], places].concat()))
}

/// `AffineGrid`: a coordinate for each place of a size.
pub fn affine_grid(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(size) = ctx.elements(1).filter(|size| size.len() > 2) else {
        return Ok(ctx.list_len(1).map(|rank| ctx.unknowns(rank)));
    };
    let mut out = vec![size[0].clone()];
    out.extend_from_slice(&size[2..]);
    out.push((size.len() - 2).into());
    Ok(Some(out))
}

/// `RoiAlign`.
pub fn roi_align(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let count = ctx.dims(1).and_then(|dims| dims.first().cloned());
    let channels = ctx.dims(0).and_then(|dims| dims.get(1).cloned());
    let open = |dim: Option<Expr>| dim.unwrap_or_else(|| ctx.unknown());
    let (height, width) = (ctx.node.int("output_height", 1)?, ctx.node.int("output_width", 1)?);
    Ok(Some(vec![open(count), open(channels), height.into(), width.into()]))
}

/// Random numbers in the shape of the input.
pub fn random_like(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = ctx.node.dtype_attribute("dtype")?.or_else(|| ctx.dtype(0));
    let dims = ctx.dims(0).map(<[Expr]>::to_vec);
    Ok(vec![dtype.map(|dtype| TensorInfo::new(dtype, dims))])
}

/// `Multinomial`.
pub fn multinomial(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = ctx.node.dtype_attribute("dtype")?.unwrap_or(DType::I32);
    let batch = ctx.dims(0).and_then(|dims| dims.first().cloned());
    let samples = ctx.node.int("sample_size", 1)?.into();
    let dims = vec![batch.unwrap_or_else(|| ctx.unknown()), samples];
    Ok(vec![Some(TensorInfo::new(dtype, dims))])
}

/// `Det`: without the matrix.
pub fn det(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    Ok(ctx.dims(0).map(|dims| dims[..dims.len().saturating_sub(2)].to_vec()))
}

/// `StringSplit`: pieces, and their number.
pub fn string_split(ctx: &InferContext<'_>) -> Result<Infos> {
    let dims = ctx.dims(0).map(<[Expr]>::to_vec);
    let pieces = dims.clone().map(|mut dims| {
        dims.push(ctx.unknown());
        dims
    });
    let counts = TensorInfo::new(DType::I64, dims);
    Ok(vec![Some(TensorInfo::new(DType::String, pieces)), Some(counts)])
}

/// `StringNormalizer`: as many as are no stop words.
pub fn string_normalizer(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let mut out = dims.to_vec();
    if let Some(last) = out.last_mut() {
        *last = ctx.unknown();
    }
    Ok(Some(out))
}

/// `TfIdfVectorizer`: one more than the largest index in the last dimension.
pub fn tf_idf(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let indexes = ctx.node.ints("ngram_indexes")?.ok_or_else(|| required("ngram_indexes"))?;
    let columns = indexes.iter().copied().max().map_or(0, |max| max.saturating_add(1));
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let rows = dims[..dims.len().saturating_sub(1)].to_vec();
    Ok(Some([rows, vec![columns.into()]].concat()))
}

/// `ArrayFeatureExtractor`.
pub fn extract_features(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some([outer @ .., _]), Some(indices)) = (ctx.dims(0), ctx.dims(1)) else {
        return Ok(None);
    };
    let mut out = if outer.is_empty() { vec![1usize.into()] } else { outer.to_vec() };
    out.push(count(indices));
    Ok(Some(out))
}

/// `TreeEnsemble`: a column for each target.
pub fn tree_ensemble(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let rows = ctx.dims(0).and_then(|dims| dims.first().cloned());
    let targets = ctx.node.int("n_targets", 1)?.into();
    Ok(Some(vec![rows.unwrap_or_else(|| ctx.unknown()), targets]))
}

/// `EyeLike`.
pub fn eye_like(ctx: &InferContext<'_>) -> Result<Infos> {
    random_like(ctx)
}

/// `LabelEncoder`: the type of the values that labels become.
pub fn encode_labels(ctx: &InferContext<'_>) -> Result<Infos> {
    let dtype = match ctx.node.attribute("values_tensor") {
        Some(Attribute::Tensor(values)) => Some(values.dtype()),
        _ if ctx.node.floats("values_floats")?.is_some_and(|list| !list.is_empty()) => {
            Some(DType::F32)
        }
        _ if ctx.node.ints("values_int64s")?.is_some_and(|list| !list.is_empty()) => {
            Some(DType::I64)
        }
        _ => ctx.node.texts("values_strings")?.map(|_| DType::String),
    };
    let dims = ctx.dims(0).map(<[Expr]>::to_vec);
    Ok(vec![dtype.map(|dtype| TensorInfo::new(dtype, dims))])
}
