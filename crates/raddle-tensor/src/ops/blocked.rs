//! Operations on images with their channels in blocks, `[n, blocks, h, w, 16]`, as
//! [`crate::blocked`] describes them. Only passes make them.

use pulp::Arch;

use super::elementwise::unsupported;
use super::fused::{DOMAIN, activation};
use super::window::Window;
use crate::DTypeRule::Like;
use crate::Kind::{Int, Ints, String as Text};
use crate::blocked::depthwise::{self, Depthwise};
use crate::blocked::direct::{self, Direct};
use crate::blocked::pool::{self, Reduction};
use crate::blocked::winograd::{self, Winograd};
use crate::blocked::{self, Axis, BLOCK_LEN};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::{dims, element_count};
use crate::{DType, Error, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, spare};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Block", 1..=1)
        .domain(DOMAIN)
        .attributes(&[("channels", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::block)
        .run(block),
    op("Unblock", 1..=1)
        .domain(DOMAIN)
        .attributes(&[("channels", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::unblock)
        .run(unblock),
    op("BlockedMaxPool", 1..=1)
        .domain(DOMAIN)
        .attributes(POOL_ATTRIBUTES)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::blocked_pool)
        .run(|ctx| pool(ctx, |_, _| Reduction::Largest)),
    op("BlockedAveragePool", 1..=1)
        .domain(DOMAIN)
        .attributes(POOL_ATTRIBUTES)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::blocked_pool)
        .run(|ctx| {
            pool(ctx, |window, includes_padding| match includes_padding {
                true => Reduction::PaddedMean([window.ends[0], window.ends[1]]),
                false => Reduction::Mean,
            })
        }),
    op("BlockedGlobalAveragePool", 1..=1)
        .domain(DOMAIN)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::blocked_pool)
        .run(global_mean),
];

/// Attributes of pooling.
const POOL_ATTRIBUTES: &[(&str, crate::Kind)] = &[
    ("auto_pad", Text),
    ("ceil_mode", Int),
    ("count_include_pad", Int),
    ("dilations", Ints),
    ("kernel_shape", Ints),
    ("pads", Ints),
    ("strides", Ints),
];

/// An input that must be in blocks: its elements, and its images, blocks, height and
/// width.
fn blocked_input(x: &Tensor) -> Result<[usize; 4]> {
    if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(unsupported(0, x.dtype(), "float, float16 or bfloat16"));
    }
    match *x.shape() {
        [images, blocks, height, width, BLOCK_LEN] => Ok([images, blocks, height, width]),
        _ => Err(Error::invalid(format!("expected blocks of channels, found {:?}", x.shape()))),
    }
}

fn block(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let &[images, channels, height, width] = x.shape() else {
        return Err(Error::invalid(format!("expected rank 4, found {:?}", x.shape())));
    };
    let expected = ctx.int("channels", 0)?;
    if usize::try_from(expected) != Ok(channels) {
        return Err(Error::invalid(format!("expected {expected} channels, found {:?}", x.shape())));
    }
    let shape = [images, channels.div_ceil(BLOCK_LEN), height, width, BLOCK_LEN];
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    blocked::block(&f32::widen(x)?, channels, height * width, &mut out);
    one(Tensor::computed(&shape, x.dtype(), out))
}

fn unblock(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let [images, blocks, height, width] = blocked_input(x)?;
    let channels = usize::try_from(ctx.int("channels", 0)?).unwrap_or(0);
    if channels.div_ceil(BLOCK_LEN) != blocks {
        return Err(ctx.bad_attribute("channels", format!("do not fill {blocks} blocks")));
    }
    let shape = [images, channels, height, width];
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    blocked::unblock(&f32::widen(x)?, channels, height * width, &mut out);
    one(Tensor::computed(&shape, x.dtype(), out))
}

/// Both dimensions of a window.
fn axes(window: &Window) -> [Axis; 2] {
    [0, 1].map(|at| Axis {
        input: window.input[at],
        output: window.output[at],
        kernel: window.kernel[at],
        step: window.strides[at],
        dilation: window.dilations[at],
        begin: window.begins[at],
    })
}

/// `PackedConv` whose result is in blocks. So is the image, or it is one of few
/// channels as they are. The addend is of the result's shape.
pub fn conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    let has_planes = x.rank() == 4;
    let [images, depth, height, width] = match *x.shape() {
        [images, channels, height, width] => [images, channels, height, width],
        _ => blocked_input(x)?,
    };
    let window =
        Window::new(ctx, &dims(ctx.ints("kernel_shape")?.unwrap_or_default())?, &[height, width])?;
    let number = |name: &str| ctx.int(name, 1).map(|n| usize::try_from(n).unwrap_or(0));
    let (channels, outputs) = (number("channels")?, number("outputs")?);
    let is_depthwise = number("group")? > 1;
    let form = ctx.text("form", "")?;
    let lanes = if has_planes { 1 } else { BLOCK_LEN };
    let blocks = outputs.div_ceil(BLOCK_LEN);
    let expected = match (form, is_depthwise) {
        ("blocked", false) => blocks * depth * window.kernel_len() * lanes * BLOCK_LEN,
        ("blocked", true) if !has_planes => blocks * window.kernel_len() * BLOCK_LEN,
        ("winograd", false) if !has_planes => winograd::packed_len(blocks, depth),
        _ => return Err(ctx.bad_attribute("form", format!("is {form:?}"))),
    };
    let shape = [images, blocks, window.output[0], window.output[1], BLOCK_LEN];
    let addend = ctx.optional_tensor(3)?;
    let mismatch = |right: &Tensor, why| Error::ShapeMismatch {
        left: x.shape().to_vec(),
        right: right.shape().to_vec(),
        why,
    };
    if channels.div_ceil(lanes) != depth || w.len() != expected {
        let why = "channels must be those that the weights were packed for";
        return Err(mismatch(w, why));
    }
    if let Some(addend) = addend.filter(|addend| addend.shape() != shape) {
        return Err(mismatch(addend, "what is added must have the shape of the result"));
    }
    if let Some(bias) = bias.filter(|bias| bias.len() != blocks * BLOCK_LEN) {
        return Err(mismatch(bias, "the bias must have a number for each channel of all blocks"));
    }
    let (source, weights) = (&*f32::widen(x)?, &*f32::widen(w)?);
    let bias = bias.map(f32::widen).transpose()?;
    let addend = addend.map(f32::widen).transpose()?;
    let (bias, residual) = (bias.as_deref(), addend.as_deref());
    let (arch, axes, activation) = (Arch::new(), axes(&window), activation(ctx)?);
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    if is_depthwise {
        let conv = Depthwise { arch, source, blocks, axes, weights, bias, residual, activation };
        depthwise::run(&conv, &mut out);
    } else if form == "winograd" {
        let image_len = depth * window.input_len() * BLOCK_LEN;
        let out_len = blocks * window.output_len() * BLOCK_LEN;
        for (at, out) in out.chunks_mut(out_len.max(1)).enumerate() {
            let conv = Winograd {
                arch,
                packed: weights,
                image: &source[at * image_len..(at + 1) * image_len],
                depth,
                outputs: blocks,
                axes,
                bias,
                residual: residual.map(|residual| &residual[at * out_len..(at + 1) * out_len]),
                activation,
            };
            winograd::run(&conv, out);
        }
    } else {
        let conv = Direct {
            arch,
            source,
            depth,
            depth_step: window.input_len() * lanes,
            has_planes,
            axes,
            weights,
            outputs: blocks,
            bias,
            residual,
            activation,
        };
        direct::run(&conv, &mut out);
    }
    one(Tensor::computed(&shape, x.dtype(), out))
}

fn pool(ctx: &OpContext<'_>, reduction: impl Fn(&Window, bool) -> Reduction) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let [images, blocks, height, width] = blocked_input(x)?;
    let kernel = ctx.ints("kernel_shape")?;
    let kernel = kernel.ok_or_else(|| ctx.bad_attribute("kernel_shape", "is required"))?;
    let window = Window::new(ctx, &dims(kernel)?, &[height, width])?;
    let reduction = reduction(&window, ctx.flag("count_include_pad", false)?);
    let shape = [images, blocks, window.output[0], window.output[1], BLOCK_LEN];
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    pool::run(&f32::widen(x)?, axes(&window), reduction, &mut out);
    one(Tensor::computed(&shape, x.dtype(), out))
}

fn global_mean(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let [images, blocks, height, width] = blocked_input(x)?;
    let shape = [images, blocks, 1, 1, BLOCK_LEN];
    let mut out = vec![f32::NAN; element_count(&shape, x.dtype())?];
    if height * width > 0 {
        pool::global_mean(&f32::widen(x)?, height * width, &mut out);
    }
    one(Tensor::computed(&shape, x.dtype(), out))
}
