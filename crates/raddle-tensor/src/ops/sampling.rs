//! Reading tensors at fractional places: grids, regions of interest, deformed
//! convolution.

use super::elementwise::unsupported;
use super::linear::gemm;
use super::window::{Window, coordinates};
use crate::Kind::{Float, Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::{dims, element_count, strides};
use crate::{
    DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("GridSample", 16..=LATEST)
        .inputs(2, 2)
        .attributes(&[("align_corners", Int), ("mode", Text), ("padding_mode", Text)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::grid_sample)
        .run(grid_sample),
    op("AffineGrid", 20..=LATEST)
        .inputs(2, 2)
        .attributes(&[("align_corners", Int)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::affine_grid)
        .run(affine_grid),
    op("RoiAlign", 10..=LATEST)
        .inputs(3, 3)
        .attributes(&[
            ("coordinate_transformation_mode", Text),
            ("mode", Text),
            ("output_height", Int),
            ("output_width", Int),
            ("sampling_ratio", Int),
            ("spatial_scale", Float),
        ])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::roi_align)
        .run(roi_align),
    op("DeformConv", 19..=LATEST)
        .inputs(3, 5)
        .attributes(&[
            ("dilations", Ints),
            ("group", Int),
            ("kernel_shape", Ints),
            ("offset_group", Int),
            ("pads", Ints),
            ("strides", Ints),
        ])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::deform_conv)
        .run(deform_conv),
];

/// How values between elements are made.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Nearest,
    Linear,
    Cubic,
}

/// What lies outside of a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Padding {
    Zeros,
    Border,
    /// The tensor mirrored at these places of each dimension.
    Reflection {
        is_aligned: bool,
    },
}

impl Padding {
    /// Brings a coordinate back into a dimension of `len`.
    fn fold(self, x: f64, len: usize) -> f64 {
        match self {
            Self::Zeros => x,
            Self::Border => x.clamp(0.0, len as f64 - 1.0),
            Self::Reflection { is_aligned } => {
                let (low, high) = match is_aligned {
                    true => (0.0, len as f64 - 1.0),
                    false => (-0.5, len as f64 - 0.5),
                };
                let range = high - low;
                if range <= 0.0 {
                    return low.max(0.0);
                }
                let phase = (x - low).rem_euclid(2.0 * range);
                low + if phase > range { 2.0 * range - phase } else { phase }
            }
        }
    }

    /// The element that stands for index `at`, if there is one.
    fn index(self, at: f64, len: usize) -> Option<usize> {
        let at = self.fold(at, len);
        // Mirrored at half an element, the fold can end between elements.
        let at = if self == Self::Zeros { at } else { at.round().clamp(0.0, len as f64 - 1.0) };
        (at >= 0.0 && at < len as f64).then_some(at as usize)
    }
}

/// Weighted elements along one dimension for a coordinate.
fn taps(x: f64, len: usize, mode: Mode, padding: Padding) -> Vec<(usize, f64)> {
    let below = x.floor();
    let t = x - below;
    let (first, weights) = match mode {
        Mode::Nearest => (x, vec![1.0]),
        Mode::Linear => (below, vec![1.0 - t, t]),
        Mode::Cubic => (below - 1.0, cubic_weights(t).to_vec()),
    };
    let tap = |(at, weight): (usize, f64)| {
        padding.index(first + at as f64, len).map(|index| (index, weight))
    };
    weights.into_iter().enumerate().filter_map(tap).collect()
}

/// Keys' weights with coefficient -0.75 of the four elements around a place
/// that lies `t` behind the second.
fn cubic_weights(t: f64) -> [f64; 4] {
    let a = -0.75;
    let near = |x: f64| ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a;
    [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)]
}

/// The sum over all combinations of taps of the dimensions of a plane.
fn weighted_sum(plane: &[f64], plane_strides: &[usize], taps: &[Vec<(usize, f64)>]) -> f64 {
    match (taps, plane_strides) {
        ([], _) | (_, []) => plane.first().copied().unwrap_or(0.0),
        ([taps, rest @ ..], [stride, inner @ ..]) => taps
            .iter()
            .map(|&(at, weight)| weight * weighted_sum(&plane[at * stride..], inner, rest))
            .sum(),
    }
}

/// `x: [n, c, spatial…]`, `grid: [n, output…, dimensions]` with coordinates from
/// -1 to 1, the innermost dimension first.
fn grid_sample(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, grid) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let is_aligned = ctx.flag("align_corners", false)?;
    let mode = match ctx.text("mode", "linear")? {
        "nearest" => Mode::Nearest,
        "linear" | "bilinear" => Mode::Linear,
        "cubic" | "bicubic" => Mode::Cubic,
        other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
    };
    let padding = match ctx.text("padding_mode", "zeros")? {
        "zeros" => Padding::Zeros,
        "border" => Padding::Border,
        "reflection" => Padding::Reflection { is_aligned },
        other => return Err(ctx.bad_attribute("padding_mode", format!("is {other:?}"))),
    };
    let rank = x.rank();
    let fits = rank >= 3
        && grid.rank() == rank
        && grid.shape()[0] == x.shape()[0]
        && grid.shape()[rank - 1] == rank - 2;
    if !fits {
        return Err(Error::ShapeMismatch {
            left: x.shape().to_vec(),
            right: grid.shape().to_vec(),
            why: "the grid must have the batch first and one coordinate for each dimension last",
        });
    }
    if !x.dtype().is_number() || !grid.dtype().is_float() {
        return Err(unsupported(0, x.dtype(), "a number, and a float grid"));
    }
    let (channels, spatial) = (x.shape()[1], &x.shape()[2..]);
    let mut out_shape = x.shape()[..2].to_vec();
    out_shape.extend(&grid.shape()[1..rank - 1]);
    let positions: usize = out_shape[2..].iter().product();
    let (plane_len, plane_strides) = (spatial.iter().product::<usize>(), strides(spatial));
    let mut out = vec![0.0; element_count(&out_shape, DType::F64)?];
    if plane_len == 0 && !out.is_empty() {
        return Err(Error::invalid("cannot sample a tensor without elements"));
    }
    let (elements, grid) = (f64::widen(x)?, f64::widen(grid)?);
    let place = |coordinate: f64, len: usize| {
        let len = len as f64;
        // Rounded as ONNX's reference does, so that ties fall alike.
        let x = f64::from(match is_aligned {
            true => ((coordinate + 1.0) / 2.0 * (len - 1.0)) as f32,
            false => (((coordinate + 1.0) * len - 1.0) / 2.0) as f32,
        });
        if mode == Mode::Nearest { x.round_ties_even() } else { x }
    };
    parallel::parts(&mut out, (channels * positions).max(1), &|image, out| {
        for position in 0..positions {
            let at = (image * positions + position) * spatial.len();
            let taps: Vec<_> = spatial
                .iter()
                .enumerate()
                .map(|(axis, &len)| {
                    let x = place(grid[at + spatial.len() - 1 - axis], len);
                    // A place that is no number, or too far away to count, is outside.
                    let x = if x.abs() < 1e15 { padding.fold(x, len) } else { f64::NAN };
                    if x.is_nan() { Vec::new() } else { taps(x, len, mode, padding) }
                })
                .collect();
            for channel in 0..channels {
                let plane = (image * channels + channel) * plane_len;
                let plane = &elements[plane..plane + plane_len];
                out[channel * positions + position] = weighted_sum(plane, &plane_strides, &taps);
            }
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// `theta: [n, d, d + 1]` and a size `[n, c, spatial…]` to `[n, spatial…, d]`.
fn affine_grid(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let theta = ctx.tensor(0)?;
    let size = dims(&ctx.i64s(1)?)?;
    let (is_aligned, rank) = (ctx.flag("align_corners", false)?, size.len().saturating_sub(2));
    if !(2..=3).contains(&rank) || theta.shape() != [size[0], rank, rank + 1] {
        return Err(Error::ShapeMismatch {
            left: theta.shape().to_vec(),
            right: size,
            why: "expected [n, 2, 3] for a size of 4 numbers, [n, 3, 4] for 5",
        });
    }
    let spatial = &size[2..];
    let positions: usize = spatial.iter().product();
    let mut out_shape = vec![size[0]];
    out_shape.extend(spatial);
    out_shape.push(rank);
    element_count(&out_shape, DType::F64)?;
    let place = |at: usize, len: usize| match (is_aligned, len) {
        (true, 1) => -1.0,
        (true, _) => -1.0 + 2.0 * at as f64 / (len - 1) as f64,
        (false, _) => (2.0 * at as f64 + 1.0) / len as f64 - 1.0,
    };
    let theta_elements = f64::widen(theta)?;
    let mut out = Vec::with_capacity(size[0] * positions * rank);
    for matrix in theta_elements.chunks(rank * (rank + 1)) {
        for position in 0..positions {
            let at = coordinates(position, spatial);
            // The innermost dimension first, as theta's columns are.
            let point: Vec<f64> =
                (0..rank).rev().map(|axis| place(at[axis], spatial[axis])).collect();
            for row in matrix.chunks(rank + 1) {
                out.push(row.iter().zip(&point).map(|(a, x)| a * x).sum::<f64>() + row[rank]);
            }
        }
    }
    one(Tensor::computed(&out_shape, theta.dtype(), out))
}

/// The four elements around a place in a plane with their weights, as
/// Detectron2's RoIAlign reads them: up to one element outside is the border.
fn bilinear([y, x]: [f64; 2], [height, width]: [usize; 2]) -> [(usize, f64); 4] {
    if !(-1.0..=height as f64).contains(&y) || !(-1.0..=width as f64).contains(&x) {
        return [(0, 0.0); 4];
    }
    let split = |x: f64, len: usize| {
        let x = x.max(0.0);
        let low = x as usize;
        match low + 1 >= len {
            true => (len - 1, len - 1, 0.0),
            false => (low, low + 1, x - low as f64),
        }
    };
    let ((y0, y1, ty), (x0, x1, tx)) = (split(y, height), split(x, width));
    [
        (y0 * width + x0, (1.0 - ty) * (1.0 - tx)),
        (y0 * width + x1, (1.0 - ty) * tx),
        (y1 * width + x0, ty * (1.0 - tx)),
        (y1 * width + x1, ty * tx),
    ]
}

/// `x: [n, c, h, w]`, `rois: [r, 4]`, one image index for each: to `[r, c, oh, ow]`.
fn roi_align(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, rois) = (ctx.tensor(0)?, ctx.tensor(1)?);
    let (&[images, channels, height, width], &[count, 4]) = (x.shape(), rois.shape()) else {
        return Err(Error::ShapeMismatch {
            left: x.shape().to_vec(),
            right: rois.shape().to_vec(),
            why: "expected [n, c, h, w] and [regions, 4]",
        });
    };
    let image_of = ctx.i64s(2)?;
    if image_of.len() != count || height * width == 0 {
        return Err(Error::invalid(format!("expected {count} image indices, and images")));
    }
    let image_of =
        image_of.iter().map(|&at| shape::index(at, images)).collect::<Result<Vec<_>>>()?;
    let positive = |name: &str, default: i64| -> Result<usize> {
        let value = ctx.int(name, default)?;
        usize::try_from(value).map_err(|_| ctx.bad_attribute(name, "is negative"))
    };
    let output = [positive("output_height", 1)?, positive("output_width", 1)?];
    let ratio = positive("sampling_ratio", 0)?;
    let scale = f64::from(ctx.float("spatial_scale", 1.0)?);
    // Opset 10 had no half pixel.
    let default = if ctx.opset() < 16 { "output_half_pixel" } else { "half_pixel" };
    let is_half_pixel = ctx.text("coordinate_transformation_mode", default)? == "half_pixel";
    let is_mean = match ctx.text("mode", "avg")? {
        "avg" => true,
        "max" => false,
        other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
    };
    let (elements, rois) = (f64::widen(x)?, f64::widen(rois)?);
    let out_shape = [count, channels, output[0], output[1]];
    let mut out = vec![0.0; element_count(&out_shape, DType::F64)?];
    let bins = output[0] * output[1];
    parallel::parts(&mut out, (channels * bins).max(1), &|at, out| {
        let offset = if is_half_pixel { 0.5 } else { 0.0 };
        let [x0, y0, x1, y1] = std::array::from_fn(|i| rois[at * 4 + i] * scale - offset);
        let least = if is_half_pixel { f64::NEG_INFINITY } else { 1.0 };
        let bin =
            [(y1 - y0).max(least) / output[0] as f64, (x1 - x0).max(least) / output[1] as f64];
        let grid =
            bin.map(|b| if ratio > 0 { ratio } else { b.ceil().clamp(0.0, 4096.0) as usize });
        for position in 0..bins {
            let corner = [
                y0 + (position / output[1]) as f64 * bin[0],
                x0 + (position % output[1]) as f64 * bin[1],
            ];
            let samples: Vec<[(usize, f64); 4]> = (0..grid[0] * grid[1])
                .map(|sample| {
                    let (iy, ix) = (sample / grid[1], sample % grid[1]);
                    let y = corner[0] + (iy as f64 + 0.5) * bin[0] / grid[0] as f64;
                    let x = corner[1] + (ix as f64 + 0.5) * bin[1] / grid[1] as f64;
                    bilinear([y, x], [height, width])
                })
                .collect();
            for channel in 0..channels {
                let plane = (image_of[at] * channels + channel) * height * width;
                let values = samples.iter().map(|taps| taps.map(|(i, w)| w * elements[plane + i]));
                out[channel * bins + position] = if is_mean {
                    values.map(|four| four.iter().sum::<f64>()).sum::<f64>()
                        / samples.len().max(1) as f64
                } else {
                    let largest = values.flatten().fold(f64::NEG_INFINITY, f64::max);
                    if samples.is_empty() { 0.0 } else { largest }
                };
            }
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}

/// Convolution whose taps are moved by offsets and scaled by a mask (Zhu et al.,
/// "Deformable ConvNets v2", 2018). `offset: [n, groups * kernel * 2, oh, ow]`.
fn deform_conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, w, offset) = (ctx.tensor(0)?, ctx.tensor(1)?, ctx.tensor(2)?);
    let (bias, mask) = (ctx.optional_tensor(3)?, ctx.optional_tensor(4)?);
    let (&[images, channels, height, width], &[outputs, group_inputs, kh, kw]) =
        (x.shape(), w.shape())
    else {
        return Err(Error::invalid("deformed convolution is supported for two dimensions"));
    };
    let count = |name: &str| usize::try_from(ctx.int(name, 1).unwrap_or(0)).unwrap_or(0);
    let (groups, offset_groups) = (count("group"), count("offset_group"));
    let window = Window::new(ctx, &[kh, kw], &[height, width])?;
    let (taps, positions) = (kh * kw, window.output_len());
    let fits = groups > 0
        && offset_groups > 0
        && group_inputs.checked_mul(groups) == Some(channels)
        && outputs.is_multiple_of(groups)
        && channels.is_multiple_of(offset_groups)
        && offset.shape() == [images, offset_groups * taps * 2, window.output[0], window.output[1]]
        && mask.is_none_or(|mask| {
            mask.shape() == [images, offset_groups * taps, window.output[0], window.output[1]]
        })
        && bias.is_none_or(|bias| bias.len() == outputs);
    if !fits {
        return Err(Error::ShapeMismatch {
            left: x.shape().to_vec(),
            right: offset.shape().to_vec(),
            why: "input, weights, offsets, mask, bias and groups must go together",
        });
    }
    let (x_elements, weights, offsets) = (f64::widen(x)?, f64::widen(w)?, f64::widen(offset)?);
    let mask = mask.map(f64::widen).transpose()?;
    let bias = bias.map(f64::widen).transpose()?;
    let out_shape = [images, outputs, window.output[0], window.output[1]];
    let mut out = vec![0.0; element_count(&out_shape, DType::F64)?];
    let group_outputs = outputs / groups;
    element_count(&[group_inputs * taps, positions], DType::F64)?;
    parallel::parts(&mut out, (group_outputs * positions).max(1), &|part, out| {
        let (image, group) = (part / groups, part % groups);
        let mut columns = vec![0.0; group_inputs * taps * positions];
        for row in 0..group_inputs * taps {
            let (channel, tap) = (group * group_inputs + row / taps, row % taps);
            let moved = channel / (channels / offset_groups) * taps + tap;
            let plane = &x_elements[(image * channels + channel) * height * width..];
            let offset_at = |which: usize, position: usize| {
                let plane = image * offset_groups * taps * 2 + moved * 2 + which;
                offsets[plane * positions + position]
            };
            for position in 0..positions {
                let (py, px) = (position / window.output[1], position % window.output[1]);
                let place = |axis: usize, at: usize, tap: usize| {
                    (at * window.strides[axis] + tap * window.dilations[axis]) as f64
                        - window.begins[axis] as f64
                };
                let y = place(0, py, tap / kw) + offset_at(0, position);
                let x = place(1, px, tap % kw) + offset_at(1, position);
                let inside = y.abs() < 1e15 && x.abs() < 1e15;
                let taps_yx = match inside {
                    true => [
                        self::taps(y, height, Mode::Linear, Padding::Zeros),
                        self::taps(x, width, Mode::Linear, Padding::Zeros),
                    ],
                    false => [Vec::new(), Vec::new()],
                };
                let scale = mask.as_ref().map_or(1.0, |mask| {
                    mask[(image * offset_groups * taps + moved) * positions + position]
                });
                columns[row * positions + position] =
                    scale * weighted_sum(plane, &[width, 1], &taps_yx);
            }
        }
        let rows = group_inputs * taps;
        let weights = &weights[group * group_outputs * rows..(group + 1) * group_outputs * rows];
        gemm(weights, &columns, out, [group_outputs, rows, positions]);
        if let Some(bias) = &bias {
            for (at, row) in out.chunks_mut(positions).enumerate() {
                row.iter_mut().for_each(|x| *x += bias[group * group_outputs + at]);
            }
        }
    });
    one(Tensor::computed(&out_shape, x.dtype(), out))
}
