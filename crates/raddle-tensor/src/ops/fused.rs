//! Operations that only passes make: a convolution in two dimensions with
//! packed weights, whose bias, addend and activation need no pass of their own
//! over memory. They live in a domain that no model can name.

use super::window::Window;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::product::{self, Activation, Product, packed_len};
use crate::shape::element_count;
use crate::{Error, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel};

/// The domain of operations that passes make.
pub const DOMAIN: &str = "raddle";

/// Rows of this family.
pub const ROWS: &[Op] = &[
    // Inputs: image, packed weights, bias, addend.
    op("PackedConv", 1..=1)
        .domain(DOMAIN)
        .inputs(2, 4)
        .attributes(&[
            ("activation", Text),
            ("auto_pad", Text),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("max", Float),
            ("min", Float),
            ("outputs", Int),
            ("pads", Ints),
            ("strides", Ints),
        ])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::packed_conv)
        .run(packed_conv),
];

/// The activation that a node asks for.
fn activation(ctx: &OpContext<'_>) -> Result<Activation> {
    match ctx.text("activation", "")? {
        "" => Ok(Activation::Identity),
        "Relu" => Ok(Activation::Relu),
        "Clip" => Ok(Activation::Clip(
            ctx.float("min", f32::NEG_INFINITY)?,
            ctx.float("max", f32::INFINITY)?,
        )),
        other => Err(ctx.bad_attribute("activation", format!("is {other:?}"))),
    }
}

/// `x: [n, c, h, w]`; weights as [`crate::product::pack`] makes them, for each
/// group `[outputs / groups, c / groups * kh * kw]`.
fn packed_conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    let addend = ctx.optional_tensor(3)?;
    let &[images, channels, height, width] = x.shape() else {
        return Err(Error::invalid(format!("expected rank 4, found {:?}", x.shape())));
    };
    let kernel = crate::shape::dims(ctx.ints("kernel_shape")?.unwrap_or_default())?;
    let window = Window::new(ctx, &kernel, &[height, width])?;
    let number = |name: &str| ctx.int(name, 1).map(|n| usize::try_from(n).unwrap_or(0));
    let (groups, outputs) = (number("group")?, number("outputs")?);
    if groups == channels && outputs == channels && w.len() == channels * window.kernel_len() {
        return packed_depthwise(ctx, &window, x);
    }
    let fits = groups > 0 && channels.is_multiple_of(groups) && outputs.is_multiple_of(groups);
    let (rows, depth) = match fits {
        true => (outputs / groups, channels / groups * window.kernel_len()),
        false => (0, 0),
    };
    if !fits || w.len() != groups * packed_len(rows, depth) {
        return Err(Error::ShapeMismatch {
            left: x.shape().to_vec(),
            right: w.shape().to_vec(),
            why: "channels must be those that the weights were packed for",
        });
    }
    let shape = [images, outputs, window.output[0], window.output[1]];
    let positions = window.output_len();
    // An addend that broadcasts, or that the result broadcasts to, comes afterwards.
    let is_late = addend.is_some_and(|addend| addend.shape() != shape);
    let activation = if is_late { Activation::Identity } else { activation(ctx)? };
    let (x_elements, w_elements) = (f32::widen(x)?, f32::widen(w)?);
    let bias = bias.map(f32::widen).transpose()?;
    let addend = addend.filter(|_| !is_late).map(f32::widen).transpose()?;
    let mut out = vec![0f32; element_count(&shape, x.dtype())?];
    let group_inputs = channels / groups;
    let planes_len = group_inputs * height * width;
    let sources: Vec<Planes<'_>> = (0..images * groups)
        .map(|at| Planes {
            elements: &x_elements[at * planes_len..][..planes_len],
            window: &window,
        })
        .collect();
    let columns: Vec<_> = sources
        .iter()
        .map(|planes| {
            move |k: std::ops::Range<usize>, n: std::ops::Range<usize>, width, out: &mut [f32]| {
                planes.pack(k, n, width, out);
            }
        })
        .collect();
    let out_len = rows * positions;
    let products = out.chunks_mut(out_len.max(1)).enumerate().map(|(at, out)| {
        let group = at % groups;
        let product = Product {
            packed: &w_elements[group * packed_len(rows, depth)..],
            rows,
            depth,
            columns: positions,
            right: &columns[at],
            bias: bias.as_deref().map(|bias| &bias[group * rows..(group + 1) * rows]),
            residual: addend.as_deref().map(|addend| &addend[at * out_len..(at + 1) * out_len]),
            activation,
        };
        (product, out)
    });
    product::run(products.collect());
    let out = Tensor::computed(&shape, x.dtype(), out)?;
    one(if is_late { finish(ctx, out) } else { Ok(out) })
}

/// Adds the addend, if there is one, and applies the activation.
fn finish(ctx: &OpContext<'_>, out: Tensor) -> Result<Tensor> {
    let activation = activation(ctx)?;
    let Some(addend) = ctx.optional_tensor(3)? else {
        let (shape, dtype) = (out.shape().to_vec(), out.dtype());
        let mut elements = f32::widen(&out)?.into_owned();
        activation.apply(&mut elements);
        return Tensor::computed(&shape, dtype, elements);
    };
    let shape = crate::shape::broadcast(out.shape(), addend.shape())?;
    let (left, right) =
        (crate::movement::expand(&out, &shape)?, crate::movement::expand(addend, &shape)?);
    let mut elements = f32::widen(&left)?.into_owned();
    elements.iter_mut().zip(f32::widen(&right)?.iter()).for_each(|(x, addend)| *x += addend);
    activation.apply(&mut elements);
    Tensor::computed(&shape, out.dtype(), elements)
}

fn packed_depthwise(ctx: &OpContext<'_>, window: &Window, x: &Tensor) -> Result<Vec<Value>> {
    let shape = [x.shape()[0], x.shape()[1], window.output[0], window.output[1]];
    let mut out = vec![0f32; element_count(&shape, x.dtype())?];
    let (planes, weights) = (f32::widen(x)?, f32::widen(ctx.tensor(1)?)?);
    let bias = ctx.optional_tensor(2)?.map(f32::widen).transpose()?;
    depthwise(window, &planes, &weights, bias.as_deref(), &mut out);
    one(finish(ctx, Tensor::computed(&shape, x.dtype(), out)?))
}

/// The planes of the channels of one group, seen as the columns of im2col.
struct Planes<'a> {
    elements: &'a [f32],
    window: &'a Window,
}

impl Planes<'_> {
    /// Row `k` is a channel and a tap, column `n` a position.
    fn pack(
        &self,
        k: std::ops::Range<usize>,
        n: std::ops::Range<usize>,
        width: usize,
        out: &mut [f32],
    ) {
        let window = self.window;
        let plane_len = window.input_len();
        if window.is_identity() && window.begins.iter().chain(&window.ends).all(|&pad| pad == 0) {
            for (line, channel) in out.chunks_mut(width).zip(k) {
                let plane = &self.elements[channel * plane_len..(channel + 1) * plane_len];
                line[..n.len()].copy_from_slice(&plane[n.clone()]);
                line[n.len()..].fill(0.0);
            }
            return;
        }
        let taps = window.kernel_len();
        for (line, row) in out.chunks_mut(width).zip(k) {
            let (channel, tap) = (row / taps, row % taps);
            let plane = &self.elements[channel * plane_len..(channel + 1) * plane_len];
            let tap = [tap / window.kernel[1], tap % window.kernel[1]];
            line[n.len()..].fill(0.0);
            let mut done = 0;
            while done < n.len() {
                let (y, x) =
                    ((n.start + done) / window.output[1], (n.start + done) % window.output[1]);
                let len = (window.output[1] - x).min(n.len() - done);
                let part = &mut line[done..done + len];
                match window.coordinate(0, y, tap[0]) {
                    Some(row) => {
                        let row = &plane[row * window.input[1]..(row + 1) * window.input[1]];
                        copy_line(window, row, x, tap[1], part);
                    }
                    None => part.fill(0.0),
                }
                done += len;
            }
        }
    }
}

/// The elements that tap `tap` meets at positions from `first` on in a row of
/// the input; zero in the padding.
fn copy_line(window: &Window, row: &[f32], first: usize, tap: usize, out: &mut [f32]) {
    let (step, (inside, start)) = (window.strides[1], window.line(tap));
    let whole = inside.start;
    let inside = inside.start.max(first)..inside.end.min(first + out.len());
    if inside.is_empty() {
        out.fill(0.0);
        return;
    }
    let (head, tail) = (inside.start - first, inside.end - first);
    out[..head].fill(0.0);
    out[tail..].fill(0.0);
    let from = &row[start + (inside.start - whole) * step..];
    match step {
        1 => out[head..tail].copy_from_slice(&from[..tail - head]),
        2 => {
            for (x, pair) in out[head..tail].iter_mut().zip(from.chunks(2)) {
                *x = pair[0];
            }
        }
        _ => {
            for (x, value) in out[head..tail].iter_mut().zip(from.iter().step_by(step)) {
                *x = *value;
            }
        }
    }
}

/// One channel with its own window: too little depth for a matrix product.
///
/// `planes: [n * c, h, w]`, `w: [c, kh * kw]`; groups of one channel each.
fn depthwise(
    window: &Window,
    planes: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let (taps, plane_len, width) = (window.kernel_len(), window.input_len(), window.input[1]);
    let channels = weights.len() / taps;
    parallel::parts(out, window.output_len().max(1), &|at, out| {
        let (plane, channel) = (&planes[at * plane_len..(at + 1) * plane_len], at % channels);
        let weights = &weights[channel * taps..(channel + 1) * taps];
        out.fill(bias.map_or(0.0, |bias| bias[channel]));
        for (tap, &weight) in weights.iter().enumerate() {
            let (ky, kx) = (tap / window.kernel[1], tap % window.kernel[1]);
            let (step, (inside, start)) = (window.strides[1], window.line(kx));
            if inside.is_empty() {
                continue;
            }
            for (y, line) in out.chunks_mut(window.output[1]).enumerate() {
                let Some(row) = window.coordinate(0, y, ky) else { continue };
                let from = &plane[row * width..(row + 1) * width][start..];
                let line = &mut line[inside.clone()];
                if step == 1 {
                    line.iter_mut().zip(from).for_each(|(x, &from)| *x += weight * from);
                } else {
                    let from = from.iter().step_by(step);
                    line.iter_mut().zip(from).for_each(|(x, &from)| *x += weight * from);
                }
            }
        }
    });
}
