//! Operations that only passes make: a convolution in two dimensions with
//! packed weights, whose bias, addend and activation need no pass of their own
//! over memory. They live in a domain that no model can name. Convolutions of
//! blocked images are in [`super::blocked`].

use std::borrow::Cow;

use super::elementwise::unsupported;
use super::window::Window;
use crate::DTypeRule::Like;
use crate::Kind::{Float, Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::product::{self, Activation, Grid, Product, Right, packed_len, packed_lines_len};
use crate::shape::element_count;
use crate::{
    DType, Error, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel, spare,
};

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
            ("channels", Int),
            ("dilations", Ints),
            ("form", Text),
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
    // Inputs: matrices, a packed matrix, a row that is added.
    op("PackedMatMul", 1..=1)
        .domain(DOMAIN)
        .inputs(2, 3)
        .attributes(&[("columns", Int), ("depth", Int)])
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::packed_matmul)
        .run(packed_matmul),
];

/// `x: [..., depth]`; the matrix `[depth, columns]` as [`crate::product::pack_lines`]
/// makes it.
fn packed_matmul(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    if !matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(unsupported(0, x.dtype(), "float, float16 or bfloat16"));
    }
    let number = |name: &str| ctx.int(name, 0).map(|n| usize::try_from(n).unwrap_or(0));
    let (depth, columns) = (number("depth")?, number("columns")?);
    let outer = match x.shape() {
        [outer @ .., found] if *found == depth => outer,
        _ => {
            return Err(Error::ShapeMismatch {
                left: x.shape().to_vec(),
                right: vec![depth, columns],
                why: "the inner dimensions of a matrix product must be equal",
            });
        }
    };
    if depth == 0 || columns == 0 || w.len() != packed_lines_len(depth, columns) {
        return Err(ctx.bad_attribute("depth", "and columns are not those of the packed matrix"));
    }
    let shape = [outer, &[columns]].concat();
    let rows = outer.iter().product();
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    let (elements, lines) = (f32::widen(x)?, f32::widen(w)?);
    let bias = bias.map(f32::widen).transpose()?;
    let packed = product::pack_now(&elements, rows, depth);
    let product = Product {
        packed: &packed,
        rows,
        right: Right::Packed { lines: &lines, depth },
        grid: Grid { wide: columns, width: columns, height: 1 },
        bias: None,
        column_bias: bias.as_deref(),
        residual: None,
        activation: Activation::Identity,
    };
    product::run(vec![(product, &mut out)]);
    spare::keep_elements(packed);
    one(Tensor::computed(&shape, x.dtype(), out))
}

/// The activation that a node asks for.
pub fn activation(ctx: &OpContext<'_>) -> Result<Activation> {
    match ctx.text("activation", "")? {
        "" => Ok(Activation::Identity),
        "Relu" => Ok(Activation::Relu),
        "Silu" => Ok(Activation::Silu),
        "Gelu" => Ok(Activation::Gelu),
        "HardSwish" => Ok(Activation::HardSwish),
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
    if !ctx.text("form", "")?.is_empty() {
        return super::blocked::conv(ctx);
    }
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
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    let padded = Padded::of(&window, images * channels)?;
    let group_inputs = channels / groups;
    let planes = padded.planes(&x_elements, &window);
    let starts = padded.starts(group_inputs, &window);
    let grid = padded.grid(&window);
    let (group_len, out_len) = (group_inputs * padded.plane_len(), rows * positions);
    let products = out.chunks_mut(out_len.max(1)).enumerate().map(|(at, out)| {
        let group = at % groups;
        let product = Product {
            packed: &w_elements[group * packed_len(rows, depth)..],
            rows,
            right: Right::Parts {
                source: &planes[at * group_len..(at + 1) * group_len],
                starts: &starts,
            },
            grid,
            bias: bias.as_deref().map(|bias| &bias[group * rows..(group + 1) * rows]),
            column_bias: None,
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
    let mut out = spare::take(element_count(&shape, x.dtype())?);
    let (planes, weights) = (f32::widen(x)?, f32::widen(ctx.tensor(1)?)?);
    let bias = ctx.optional_tensor(2)?.map(f32::widen).transpose()?;
    // What follows an addend must wait for it.
    let own = if ctx.has(3) { Activation::Identity } else { activation(ctx)? };
    let padded = Padded::of(window, 1)?;
    depthwise(window, &planes, &padded, (&weights, bias.as_deref(), own), &mut out);
    let out = Tensor::computed(&shape, x.dtype(), out)?;
    one(if ctx.has(3) { finish(ctx, out) } else { Ok(out) })
}

/// One channel with its own window: too little depth for a matrix product.
///
/// `planes: [n * c, h, w]`, `w: [c, kh * kw]`; groups of one channel each.
fn depthwise(
    window: &Window,
    planes: &[f32],
    padded: &Padded,
    (weights, bias, activation): (&[f32], Option<&[f32]>, Activation),
    out: &mut [f32],
) {
    let (taps, plane_len) = (window.kernel_len(), window.input_len());
    let channels = weights.len() / taps;
    let (starts, grid) = (padded.starts(1, window), padded.grid(window));
    let arch = pulp::Arch::new();
    // Channels of a part share the memory of their padded plane.
    let part = (PART_LEN_MIN / window.output_len().max(1)).max(1) * window.output_len().max(1);
    parallel::parts(out, part, &|at, out| {
        let mut own = vec![0f32; padded.plane_len() + product::TILE_LEN_MAX];
        let first = at * part / window.output_len().max(1);
        for (channel, out) in out.chunks_mut(window.output_len().max(1)).enumerate() {
            let (at, channel) = (first + channel, (first + channel) % channels);
            padded.fill(&planes[at * plane_len..(at + 1) * plane_len], window, &mut own);
            let weights = &weights[channel * taps..(channel + 1) * taps];
            let bias = bias.map_or(0.0, |bias| bias[channel]);
            product::slide(arch, (&own, &starts), (weights, bias), grid, out);
            activation.apply(out);
        }
    });
}

/// Fewest elements of a result that are worth a task of their own.
const PART_LEN_MIN: usize = 1 << 12;

/// Planes with their padding, laid out so that a tap at all positions is one
/// line: with steps of more than one, elements of one remainder lie together.
struct Padded {
    /// Steps of the window.
    steps: [usize; 2],
    /// Remainders that taps have, at most as many as steps.
    phases: [usize; 2],
    /// Size of the plane of one pair of remainders.
    size: [usize; 2],
}

impl Padded {
    /// ## Errors
    /// [`Error::TooLarge`] if `planes` of them cannot be held.
    fn of(window: &Window, planes: usize) -> Result<Self> {
        let reach = |axis: usize| (window.kernel[axis] - 1) * window.dilations[axis];
        // Positions and what taps reach behind the last.
        let size = |axis: usize| window.output[axis] + reach(axis) / window.strides[axis];
        let phases = |axis: usize| window.strides[axis].min(reach(axis) + 1);
        let (size, phases) = ([size(0), size(1)], [phases(0), phases(1)]);
        element_count(&[planes, phases[0], phases[1], size[0], size[1]], DType::F32)?;
        Ok(Self { steps: [window.strides[0], window.strides[1]], phases, size })
    }

    fn plane_len(&self) -> usize {
        self.phases[0] * self.phases[1] * self.size[0] * self.size[1]
    }

    fn grid(&self, window: &Window) -> Grid {
        Grid { wide: self.size[1], width: window.output[1], height: window.output[0] }
    }

    /// Whether a plane is its own padded form.
    fn is_plain(&self, window: &Window) -> bool {
        self.steps == [1, 1] && self.size[..] == window.input && window.begins == [0, 0]
    }

    /// All planes of a tensor.
    fn planes<'x>(&self, x: &'x [f32], window: &Window) -> Cow<'x, [f32]> {
        if self.is_plain(window) || window.input_len() == 0 {
            return Cow::Borrowed(x);
        }
        let count = x.len() / window.input_len();
        let mut planes = vec![0f32; count * self.plane_len()];
        let part = (PART_LEN_MIN / self.plane_len().max(1)).max(1) * self.plane_len();
        parallel::parts(&mut planes, part, &|at, planes| {
            let first = at * part / self.plane_len();
            for (plane, own) in planes.chunks_mut(self.plane_len()).enumerate() {
                let from = (first + plane) * window.input_len();
                self.fill(&x[from..from + window.input_len()], window, own);
            }
        });
        Cow::Owned(planes)
    }

    /// Writes the elements of a plane to their places; padding stays as it is.
    fn fill(&self, plane: &[f32], window: &Window, own: &mut [f32]) {
        let ([step_y, step_x], [height, width]) = (self.steps, self.size);
        let [phases_y, phases_x] = self.phases;
        for (y, row) in plane.chunks(window.input[1]).enumerate() {
            let y = y + window.begins[0];
            if y / step_y >= height {
                break;
            }
            if y % step_y >= phases_y {
                continue;
            }
            let line = y % step_y * phases_x * height + y / step_y;
            for remainder in 0..phases_x {
                // The first element whose place has this remainder.
                let skip = (remainder + step_x - window.begins[1] % step_x) % step_x;
                let to = (skip + window.begins[1]) / step_x;
                let Some(room) = width.checked_sub(to) else { continue };
                let from = row.get(skip..).unwrap_or_default();
                let own = &mut own[(line + remainder * height) * width + to..][..room];
                match step_x {
                    1 => {
                        let len = own.len().min(from.len());
                        own[..len].copy_from_slice(&from[..len]);
                    }
                    2 => {
                        // Pairs, which vector instructions can part.
                        let (pairs, rest) = from.as_chunks::<2>();
                        own.iter_mut().zip(pairs).for_each(|(x, from)| *x = from[0]);
                        if let (Some(x), [last]) = (own.get_mut(pairs.len()), rest) {
                            *x = *last;
                        }
                    }
                    _ => own
                        .iter_mut()
                        .zip(from.iter().step_by(step_x))
                        .for_each(|(x, from)| *x = *from),
                }
            }
        }
    }

    /// Where the line of each channel and tap begins.
    fn starts(&self, channels: usize, window: &Window) -> Vec<usize> {
        let ([step_y, step_x], [height, width]) = (self.steps, self.size);
        let start = |channel: usize, tap: usize| {
            let y = tap / window.kernel[1] * window.dilations[0];
            let x = tap % window.kernel[1] * window.dilations[1];
            let plane = y % step_y * self.phases[1] + x % step_x;
            channel * self.plane_len() + (plane * height + y / step_y) * width + x / step_x
        };
        let taps = window.kernel_len();
        (0..channels * taps).map(|k| start(k / taps, k % taps)).collect()
    }
}
