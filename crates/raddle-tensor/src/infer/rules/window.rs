//! Windows that slide over the dimensions behind batch and channel.

use super::{Infos, required};
use crate::infer::{Dims, Expr, InferContext, TensorInfo};
use crate::{DType, Error, Result};

/// A list attribute with one positive number for each dimension.
fn positive(ctx: &InferContext<'_>, name: &str, rank: usize) -> Result<Vec<Expr>> {
    let list = ctx.node.ints(name)?.map_or_else(|| vec![1; rank], <[i64]>::to_vec);
    if list.len() != rank || list.iter().any(|&x| x <= 0) {
        let why = format!("must be {rank} positive numbers");
        return Err(ctx.node.bad_attribute(name, why));
    }
    Ok(list.into_iter().map(Expr::from).collect())
}

/// Number of positions in each dimension.
fn positions(ctx: &InferContext<'_>, kernel: &[Expr], input: &[Expr]) -> Result<Dims> {
    let rank = input.len();
    let (steps, dilations) = (positive(ctx, "strides", rank)?, positive(ctx, "dilations", rank)?);
    if kernel.len() != rank {
        return Err(ctx.node.bad_attribute("kernel_shape", format!("must be {rank} numbers")));
    }
    let auto = ctx.node.text("auto_pad", "NOTSET")?;
    let pads = match (auto, ctx.node.ints("pads")?) {
        ("NOTSET" | "", Some(pads)) if pads.len() == 2 * rank => pads.to_vec(),
        ("NOTSET" | "", Some(pads)) => {
            let why = format!("must be {} numbers from 0, found {pads:?}", 2 * rank);
            return Err(ctx.node.bad_attribute("pads", why));
        }
        _ => vec![0; 2 * rank],
    };
    let ceils = ctx.node.flag("ceil_mode", false)?;
    let one = Expr::from(1usize);
    let position = |axis: usize| {
        let reach = kernel[axis].minus(&one).times(&dilations[axis]).plus(&one);
        let step = &steps[axis];
        if auto.starts_with("SAME") {
            let count = input[axis].ceil_div(step).larger(&one);
            let padded = count.minus(&one).times(step).plus(&reach).larger(&input[axis]);
            return room_for(&padded.minus(&reach), step, ceils, &padded);
        }
        let with_begin = input[axis].plus(&pads[axis].into());
        let room = with_begin.plus(&pads[rank + axis].into()).minus(&reach);
        room_for(&room, step, ceils, &with_begin)
    };
    let out: Dims = (0..rank).map(position).collect();
    match out.iter().position(|len| len.number().is_some_and(|len| len <= 0)) {
        Some(axis) => Err(Error::invalid(format!(
            "the window reaches over more elements of dimension {axis} than there are with padding"
        ))),
        None => Ok(out),
    }
}

/// Steps into `room`; with `ceils` a further one that begins before `end`.
fn room_for(room: &Expr, step: &Expr, ceils: bool, end: &Expr) -> Expr {
    let one = Expr::from(1usize);
    if !ceils {
        return room.floor_div(step).plus(&one);
    }
    room.ceil_div(step).plus(&one).smaller(&end.ceil_div(step))
}

/// The kernel: an attribute, or else the dimensions of the weights.
fn kernel(ctx: &InferContext<'_>, weights: usize, rank: usize) -> Result<Option<Dims>> {
    Ok(match (ctx.node.ints("kernel_shape")?, ctx.dims(weights)) {
        (_, Some(dims)) if dims.len() == rank + 2 => Some(dims[2..].to_vec()),
        (_, Some(dims)) => {
            return Err(Error::invalid(format!(
                "a convolution over {rank} dimensions needs weights of {} dimensions, found {}",
                rank + 2,
                dims.len()
            )));
        }
        (Some(list), None) => Some(list.iter().map(|&len| len.into()).collect()),
        (None, None) => None,
    })
}

fn convolution(ctx: &InferContext<'_>, weights: usize) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else {
        return Ok(ctx.dims(weights).map(|dims| ctx.unknowns(dims.len())));
    };
    let [batch, channels, input @ ..] = dims else {
        return Err(Error::invalid("a convolution needs an input of at least 3 dimensions"));
    };
    let outputs = ctx.dims(weights).map(|dims| dims[0].clone());
    let groups = Expr::from(ctx.node.int("group", 1)?);
    let expected = ctx.dims(weights).and_then(|dims| dims.get(1)).map(|dim| dim.times(&groups));
    if let Some((expected, found)) = expected.as_ref().and_then(Expr::number).zip(channels.number())
        && expected != found
    {
        return Err(Error::invalid(format!("expected {expected} channels, found {found}")));
    }
    let positions = match kernel(ctx, weights, input.len())? {
        Some(kernel) => positions(ctx, &kernel, input)?,
        None => ctx.unknowns(input.len()),
    };
    let mut out = vec![batch.clone(), outputs.unwrap_or_else(|| ctx.unknown())];
    out.extend(positions);
    Ok(Some(out))
}

/// `Conv`.
pub fn conv(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    convolution(ctx, 1)
}

/// `ConvInteger`.
pub fn conv_integer(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    convolution(ctx, 1)
}

/// `QLinearConv`, whose weights are input 3.
pub fn qlinear_conv(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    convolution(ctx, 3)
}

/// The convolution with packed weights: its attributes say what they were. The
/// addend may be larger than the result, which broadcasts to it; in blocks it is
/// of one shape with the result.
pub fn packed_conv(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let outputs = ctx.node.int("outputs", 1)?;
    let kernel = ctx.node.ints("kernel_shape")?.ok_or_else(|| required("kernel_shape"))?;
    let kernel: Dims = kernel.iter().map(|&len| len.into()).collect();
    if !ctx.node.text("form", "")?.is_empty() {
        let Some([batch, _, height, width, ..]) = ctx.dims(0) else { return Ok(None) };
        let mut out = vec![batch.clone(), ((outputs + BLOCK - 1) / BLOCK).into()];
        out.extend(positions(ctx, &kernel, &[height.clone(), width.clone()])?);
        out.push(BLOCK.into());
        return Ok(Some(out));
    }
    let Some([batch, _, input @ ..]) = ctx.dims(0) else { return Ok(None) };
    let mut out = vec![batch.clone(), outputs.into()];
    out.extend(positions(ctx, &kernel, input)?);
    Ok(match (ctx.has(3), ctx.dims(3)) {
        (false, _) => Some(out),
        (true, Some(addend)) => super::broadcast(&out, addend),
        (true, None) => None,
    })
}

/// Channels of a block.
const BLOCK: i64 = crate::blocked::BLOCK_LEN as i64;

/// `Block`: channels in blocks.
pub fn block(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([batch, channels, height, width]) = ctx.dims(0) else { return Ok(None) };
    let blocks = channels.ceil_div(&BLOCK.into());
    Ok(Some(vec![batch.clone(), blocks, height.clone(), width.clone(), BLOCK.into()]))
}

/// `Unblock`: as many channels as its attribute says.
pub fn unblock(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([batch, _, height, width, _]) = ctx.dims(0) else { return Ok(None) };
    let channels = ctx.node.int("channels", 0)?.into();
    Ok(Some(vec![batch.clone(), channels, height.clone(), width.clone()]))
}

/// Pooling of an image in blocks.
pub fn blocked_pool(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([batch, blocks, input @ .., lanes]) = ctx.dims(0) else { return Ok(None) };
    let mut out = vec![batch.clone(), blocks.clone()];
    match ctx.node.ints("kernel_shape")? {
        Some(kernel) => {
            let kernel: Dims = kernel.iter().map(|&len| len.into()).collect();
            out.extend(positions(ctx, &kernel, input)?);
        }
        None => out.extend(input.iter().map(|_| 1usize.into())),
    }
    out.push(lanes.clone());
    Ok(Some(out))
}

/// `AveragePool` and `LpPool`.
pub fn pool(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let kernel = ctx.node.ints("kernel_shape")?.ok_or_else(|| required("kernel_shape"))?;
    let kernel: Dims = kernel.iter().map(|&len| len.into()).collect();
    let Some(dims) = ctx.dims(0) else { return Ok(Some(ctx.unknowns(kernel.len() + 2))) };
    let [batch, channels, input @ ..] = dims else {
        return Err(Error::invalid("pooling needs an input of at least 3 dimensions"));
    };
    let mut out = vec![batch.clone(), channels.clone()];
    out.extend(positions(ctx, &kernel, input)?);
    Ok(Some(out))
}

/// `MaxPool`: values and the places where they were found.
pub fn max_pool(ctx: &InferContext<'_>) -> Result<Infos> {
    let dims = pool(ctx)?;
    let places = TensorInfo::new(DType::I64, dims.clone());
    Ok(vec![ctx.dtype(0).map(|dtype| TensorInfo::new(dtype, dims)), Some(places)])
}

/// `GlobalAveragePool` and its like: one position.
pub fn global_pool(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    let mut out = dims.to_vec();
    out.iter_mut().skip(2).for_each(|dim| *dim = 1usize.into());
    Ok(Some(out))
}

/// `DeformConv`.
pub fn deform_conv(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    convolution(ctx, 1)
}

/// A list attribute of whole numbers, 0 each if absent.
fn amounts(ctx: &InferContext<'_>, name: &str, len: usize) -> Result<Vec<Expr>> {
    let list = ctx.node.ints(name)?.map_or_else(|| vec![0; len], <[i64]>::to_vec);
    if list.len() != len {
        return Err(ctx.node.bad_attribute(name, format!("must be {len} numbers from 0")));
    }
    Ok(list.into_iter().map(Expr::from).collect())
}

/// `ConvTranspose`.
pub fn conv_transpose(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let (Some([batch, _, input @ ..]), Some([_, outputs, taps @ ..])) = (ctx.dims(0), ctx.dims(1))
    else {
        return Ok(None);
    };
    let rank = input.len();
    if taps.len() != rank {
        return Err(Error::invalid("a convolution needs inputs of one rank, at least 3"));
    }
    let (steps, dilations) = (positive(ctx, "strides", rank)?, positive(ctx, "dilations", rank)?);
    let (extra, one) = (amounts(ctx, "output_padding", rank)?, Expr::from(1usize));
    let auto = ctx.node.text("auto_pad", "NOTSET")?;
    let stated = ctx.node.ints("output_shape")?.filter(|list| list.len() >= rank);
    let pads = match auto {
        "NOTSET" | "" if stated.is_none() => amounts(ctx, "pads", 2 * rank)?,
        _ => vec![Expr::default(); 2 * rank],
    };
    let groups = Expr::from(ctx.node.int("group", 1)?);
    let mut out = vec![batch.clone(), outputs.times(&groups)];
    for axis in 0..rank {
        out.push(match stated {
            Some(list) => list[list.len() - rank + axis].into(),
            None if auto.starts_with("SAME") => input[axis].times(&steps[axis]),
            None => {
                let reach = taps[axis].minus(&one).times(&dilations[axis]).plus(&one);
                let full = input[axis].minus(&one).times(&steps[axis]).plus(&reach);
                full.plus(&extra[axis]).minus(&pads[axis]).minus(&pads[rank + axis])
            }
        });
    }
    Ok(Some(out))
}

/// `Col2Im`: the image that the second input gives.
pub fn col2im(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some([images, rows, _]) = ctx.dims(0) else { return Ok(None) };
    let (Some(image), Some(taps)) = (ctx.elements(1), ctx.elements(2)) else {
        return Ok(ctx.list_len(1).map(|rank| ctx.unknowns(rank + 2)));
    };
    let mut out = vec![images.clone(), rows.floor_div(&super::count(&taps))];
    out.extend(image);
    Ok(Some(out))
}

/// `MaxUnpool`.
pub fn max_unpool(ctx: &InferContext<'_>) -> Result<Option<Dims>> {
    let Some(dims) = ctx.dims(0) else { return Ok(None) };
    if ctx.has(2) {
        return Ok(Some(ctx.elements(2).unwrap_or_else(|| ctx.unknowns(dims.len()))));
    }
    let [batch, channels, input @ ..] = dims else { return Ok(None) };
    let rank = input.len();
    let (kernel, steps) = (positive(ctx, "kernel_shape", rank)?, positive(ctx, "strides", rank)?);
    let (pads, one) = (amounts(ctx, "pads", 2 * rank)?, Expr::from(1usize));
    let len = |axis: usize| {
        let full = input[axis].minus(&one).times(&steps[axis]).plus(&kernel[axis]);
        full.minus(&pads[axis]).minus(&pads[rank + axis])
    };
    let mut out = vec![batch.clone(), channels.clone()];
    out.extend((0..rank).map(len));
    Ok(Some(out))
}
