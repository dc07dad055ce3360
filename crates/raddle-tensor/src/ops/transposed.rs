//! The transposes of windows: columns added back into an image, convolution
//! that enlarges, maxima put back where they came from.

use super::elementwise::unsupported;
use super::linear::{Scalar, gemm};
use super::window::coordinates;
use crate::Kind::{Int, Ints, String as Text};
use crate::infer::rules;
use crate::movement::transpose;
use crate::shape::{dims, element_count, strides};
use crate::{
    Class, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("ConvTranspose", 1..=LATEST)
        .inputs(2, 3)
        .attributes(&[
            ("auto_pad", Text),
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("output_padding", Ints),
            ("output_shape", Ints),
            ("pads", Ints),
            ("strides", Ints),
        ])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::conv_transpose)
        .run(conv_transpose),
    op("Col2Im", 18..=LATEST)
        .inputs(3, 3)
        .attributes(&[("dilations", Ints), ("pads", Ints), ("strides", Ints)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::col2im)
        .run(col2im),
    op("MaxUnpool", 9..=LATEST)
        .inputs(2, 3)
        .attributes(&[("kernel_shape", Ints), ("pads", Ints), ("strides", Ints)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::max_unpool)
        .run(max_unpool),
];

/// Where the taps of positions lie in an image that is larger than them.
struct Spread {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Cut off before each dimension; negative where it is enlarged.
    begins: Vec<i64>,
    positions: Vec<usize>,
    image: Vec<usize>,
}

/// A list of positive numbers, 1 each if absent.
fn positive(ctx: &OpContext<'_>, name: &str, rank: usize) -> Result<Vec<usize>> {
    let list = ctx.ints(name)?.map_or_else(|| vec![1; rank], <[i64]>::to_vec);
    let valid = list.len() == rank && list.iter().all(|x| (1..1 << 32).contains(x));
    if valid {
        return Ok(list.iter().map(|&x| x as usize).collect());
    }
    Err(ctx.bad_attribute(name, format!("must be {rank} positive numbers, found {list:?}")))
}

/// A list of numbers from 0, 0 each if absent.
fn amounts(ctx: &OpContext<'_>, name: &str, len: usize) -> Result<Vec<i64>> {
    let list = ctx.ints(name)?.map_or_else(|| vec![0; len], <[i64]>::to_vec);
    if list.len() == len && list.iter().all(|x| (0..1 << 32).contains(x)) {
        return Ok(list);
    }
    Err(ctx.bad_attribute(name, format!("must be {len} numbers from 0, found {list:?}")))
}

impl Spread {
    /// Adds `columns: [taps, positions]` into `image`.
    fn add<T: Copy + std::ops::AddAssign>(&self, columns: &[T], image: &mut [T]) {
        let (count, image_strides) =
            (self.positions.iter().product::<usize>(), strides(&self.image));
        let last = self.positions.len() - 1;
        let line_len = self.positions[last];
        for (tap, columns) in columns.chunks(count.max(1)).enumerate() {
            let tap = coordinates(tap, &self.kernel);
            let place = |axis: usize, at: usize| {
                let place = (at * self.strides[axis] + tap[axis] * self.dilations[axis]) as i64;
                usize::try_from(place - self.begins[axis]).ok().filter(|&x| x < self.image[axis])
            };
            for (line, columns) in columns.chunks(line_len.max(1)).enumerate() {
                let at = coordinates(line, &self.positions[..last]);
                let start = (0..last).try_fold(0, |sum, axis| {
                    Some(sum + place(axis, at[axis])? * image_strides[axis])
                });
                let Some(start) = start else { continue };
                for (at, &value) in columns.iter().enumerate() {
                    if let Some(x) = place(last, at) {
                        image[start + x] += value;
                    }
                }
            }
        }
    }
}

fn conv_transpose(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    match ctx.tensor(0)?.dtype().class() {
        Class::F32 => conv_transpose_in::<f32>(ctx),
        Class::F64 => conv_transpose_in::<f64>(ctx),
        _ => Err(unsupported(0, ctx.tensor(0)?.dtype(), "a float")),
    }
}

/// `x: [n, c, in…]`, `w: [c, outputs / groups, kernel…]` to `[n, outputs, out…]`.
fn conv_transpose_in<T: Scalar + std::ops::AddAssign>(ctx: &OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, bias) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.optional_tensor(2)?);
    let mismatch =
        |why| Error::ShapeMismatch { left: x.shape().to_vec(), right: w.shape().to_vec(), why };
    if x.rank() < 3 || w.rank() != x.rank() {
        return Err(mismatch("a convolution needs inputs of one rank, at least 3"));
    }
    let groups = usize::try_from(ctx.int("group", 1)?).unwrap_or(0);
    let (images, channels) = (x.shape()[0], x.shape()[1]);
    if groups == 0 || w.shape()[0] != channels || !channels.is_multiple_of(groups) {
        return Err(mismatch("channels must be those of the weights and divide into the groups"));
    }
    let spread = spread_of(ctx, &x.shape()[2..], &w.shape()[2..])?;
    let (group_inputs, group_outputs) = (channels / groups, w.shape()[1]);
    let outputs = group_outputs * groups;
    if bias.is_some_and(|bias| bias.len() != outputs) {
        return Err(Error::invalid(format!("expected {outputs} biases")));
    }
    let mut out_shape = vec![images, outputs];
    out_shape.extend(&spread.image);
    let mut out = vec![T::default(); element_count(&out_shape, x.dtype())?];
    let taps: usize = spread.kernel.iter().product();
    let rows = group_outputs * taps;
    let positions: usize = spread.positions.iter().product();
    element_count(&[rows, positions], x.dtype())?;
    // Weights of each group as [outputs * taps, inputs].
    let grouped = w.clone().reshape(&[groups, group_inputs, rows])?;
    let weights = transpose(&grouped, &[0, 2, 1])?;
    let (weights, elements) = (T::widen(&weights)?, T::widen(x)?);
    let bias = bias.map(T::widen).transpose()?;
    let image_len: usize = spread.image.iter().product();
    parallel::parts(&mut out, (group_outputs * image_len).max(1), &|part, out| {
        let (image, group) = (part / groups, part % groups);
        let from = (image * channels + group * group_inputs) * positions;
        let planes = &elements[from..from + group_inputs * positions];
        let weights = &weights[group * rows * group_inputs..(group + 1) * rows * group_inputs];
        let mut columns = vec![T::default(); rows * positions];
        gemm(weights, planes, &mut columns, [rows, group_inputs, positions]);
        for (at, plane) in out.chunks_mut(image_len.max(1)).enumerate() {
            if let Some(bias) = &bias {
                plane.fill(bias[group * group_outputs + at]);
            }
            spread.add(&columns[at * taps * positions..(at + 1) * taps * positions], plane);
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// Reads strides, dilations, padding and the shape of the output.
fn spread_of(ctx: &OpContext<'_>, positions: &[usize], kernel: &[usize]) -> Result<Spread> {
    let rank = positions.len();
    let (strides, dilations) = (positive(ctx, "strides", rank)?, positive(ctx, "dilations", rank)?);
    let extra = amounts(ctx, "output_padding", rank)?;
    if positions.contains(&0) || kernel.contains(&0) {
        return Err(Error::invalid("a convolution needs at least one element and one tap"));
    }
    // Length that all taps of all positions reach over.
    let full: Vec<i64> = (0..rank)
        .map(|i| {
            let reach = (kernel[i] as i64 - 1).saturating_mul(dilations[i] as i64) + 1;
            (positions[i] as i64 - 1).saturating_mul(strides[i] as i64).saturating_add(reach)
        })
        .collect();
    let auto = ctx.text("auto_pad", "NOTSET")?;
    let stated = ctx.ints("output_shape")?.filter(|list| !list.is_empty());
    let stated = stated.map(|list| list[list.len().saturating_sub(rank)..].to_vec());
    let wanted: Option<Vec<i64>> = match (stated, auto) {
        (Some(list), _) => Some(list),
        (None, "SAME_UPPER" | "SAME_LOWER") => {
            Some((0..rank).map(|i| (positions[i] * strides[i]) as i64).collect())
        }
        (None, "NOTSET" | "" | "VALID") => None,
        (None, other) => return Err(ctx.bad_attribute("auto_pad", format!("is {other:?}"))),
    };
    let (begins, image) = match wanted {
        Some(image) if image.len() == rank => {
            let begin = |i: usize| {
                let total = full[i] + extra[i] - image[i];
                // The odd element goes to the end for SAME_UPPER, to the front otherwise.
                if auto == "SAME_UPPER" { total.div_euclid(2) } else { total - total.div_euclid(2) }
            };
            ((0..rank).map(begin).collect(), image)
        }
        Some(image) => {
            let why = format!("must have {rank} numbers, found {image:?}");
            return Err(ctx.bad_attribute("output_shape", why));
        }
        None => {
            let pads =
                if auto == "VALID" { vec![0; 2 * rank] } else { amounts(ctx, "pads", 2 * rank)? };
            let image = (0..rank).map(|i| full[i] + extra[i] - pads[i] - pads[rank + i]).collect();
            (pads[..rank].to_vec(), image)
        }
    };
    let (kernel, positions) = (kernel.to_vec(), positions.to_vec());
    Ok(Spread { kernel, strides, dilations, begins, positions, image: dims(&image)? })
}

fn col2im(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    match ctx.tensor(0)?.dtype().class() {
        Class::F32 => col2im_in::<f32>(ctx),
        Class::F64 => col2im_in::<f64>(ctx),
        Class::I64 => col2im_in::<i64>(ctx),
        Class::U64 => col2im_in::<u64>(ctx),
        _ => Err(unsupported(0, ctx.tensor(0)?.dtype(), "a number")),
    }
}

/// `x: [n, c * taps, positions]` to `[n, c, image…]`.
fn col2im_in<T: Scalar + std::ops::AddAssign>(ctx: &OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let (image, kernel) = (dims(&ctx.i64s(1)?)?, dims(&ctx.i64s(2)?)?);
    let rank = image.len();
    let (strides, dilations) = (positive(ctx, "strides", rank)?, positive(ctx, "dilations", rank)?);
    let pads = amounts(ctx, "pads", 2 * rank)?;
    let misfit = || {
        Error::invalid(format!(
            "columns of shape {:?} are not those of windows {kernel:?} over an image {image:?}",
            x.shape()
        ))
    };
    if kernel.len() != rank || rank == 0 || kernel.contains(&0) {
        return Err(misfit());
    }
    let positions = (0..rank).map(|i| {
        let reach = (kernel[i] as i64 - 1) * dilations[i] as i64 + 1;
        let room = image[i] as i64 + pads[i] + pads[rank + i] - reach;
        usize::try_from(room).ok().map(|room| room / strides[i] + 1)
    });
    let positions = positions.collect::<Option<Vec<usize>>>().ok_or_else(misfit)?;
    let (taps, count) = (kernel.iter().product::<usize>(), positions.iter().product::<usize>());
    let &[images, rows, columns] = x.shape() else { return Err(misfit()) };
    if columns != count || !rows.is_multiple_of(taps) {
        return Err(misfit());
    }
    let begins = pads[..rank].to_vec();
    let spread = Spread { kernel, strides, dilations, begins, positions, image };
    let mut out_shape = vec![images, rows / taps];
    out_shape.extend(&spread.image);
    let mut out = vec![T::default(); element_count(&out_shape, x.dtype())?];
    let elements = T::widen(x)?;
    let image_len: usize = spread.image.iter().product();
    parallel::parts(&mut out, image_len.max(1), &|plane, out| {
        spread.add(&elements[plane * taps * count..(plane + 1) * taps * count], out);
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// Indices count over the tensor that the window sizes imply; a larger output
/// has it in its front corner.
fn max_unpool(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, indices) = (ctx.tensor(0)?, ctx.i64s(1)?);
    let rank = x.rank().saturating_sub(2);
    let kernel = positive(ctx, "kernel_shape", rank)?;
    let (steps, pads) = (positive(ctx, "strides", rank)?, amounts(ctx, "pads", 2 * rank)?);
    if rank == 0 || indices.len() != x.len() || x.is_empty() {
        return Err(Error::invalid(format!(
            "expected as many indices as elements of {:?}, found {}",
            x.shape(),
            indices.len()
        )));
    }
    let mut inferred: Vec<i64> = x.shape()[..2].iter().map(|&dim| dim as i64).collect();
    inferred.extend((0..rank).map(|i| {
        (x.shape()[i + 2] as i64 - 1) * steps[i] as i64 + kernel[i] as i64
            - pads[i]
            - pads[rank + i]
    }));
    let inferred = dims(&inferred)?;
    let out_shape = match ctx.optional_i64s(2)? {
        Some(shape) => dims(&shape)?,
        None => inferred.clone(),
    };
    if out_shape.len() != x.rank() || out_shape.iter().zip(&inferred).any(|(out, own)| out < own) {
        return Err(Error::invalid(format!(
            "the output shape {out_shape:?} must not be below {inferred:?}"
        )));
    }
    let len = element_count(&inferred, x.dtype())?;
    let out_len = element_count(&out_shape, x.dtype())?;
    let out_strides = strides(&out_shape);
    let mut places = vec![None; out_len];
    for (from, &index) in indices.iter().enumerate() {
        let at = coordinates(shape::index(index, len)?, &inferred);
        places[at.iter().zip(&out_strides).map(|(at, stride)| at * stride).sum::<usize>()] =
            Some(from);
    }
    let zero = Tensor::zeros(&[1], x.dtype())?;
    one(crate::movement::gather_indices(x, &out_shape, &places, Some(&zero)))
}
