//! Resizing by interpolation, one axis after the other: for every position
//! along an axis a few weighted elements of the input.

use super::control::numbers;
use super::elementwise::unsupported;
use crate::Kind::{Float, Floats, Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::shape::{axes, dims, element_count};
use crate::{
    Class, DType, DTypeRule, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one,
    op, parallel,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Resize", 10..=10)
        .inputs(2, 2)
        .attributes(&[("mode", Text)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::upsample)
        .run(upsample),
    op("Resize", 11..=LATEST)
        .inputs(1, 4)
        .attributes(&[
            ("antialias", Int),
            ("axes", Ints),
            ("coordinate_transformation_mode", Text),
            ("cubic_coeff_a", Float),
            ("exclude_outside", Int),
            ("extrapolation_value", Float),
            ("keep_aspect_ratio_policy", Text),
            ("mode", Text),
            ("nearest_mode", Text),
        ])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::resize)
        .run(resize),
    op("Upsample", 7..=8)
        .attributes(&[("mode", Text), ("scales", Floats)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::upsample)
        .run(upsample),
    op("Upsample", 9..=9)
        .inputs(2, 2)
        .attributes(&[("mode", Text)])
        .result(DTypeRule::Like(0), ShapeRule::Computed)
        .dims(rules::upsample)
        .run(upsample),
];

/// How weights follow from a distance.
#[derive(Clone, Copy, PartialEq)]
enum Filter {
    Nearest(Nearest),
    Linear,
    /// With Keys' coefficient.
    Cubic(f64),
}

#[derive(Clone, Copy, PartialEq)]
enum Nearest {
    RoundPreferFloor,
    RoundPreferCeil,
    Floor,
    Ceil,
}

/// How positions of the output map to the input.
#[derive(Clone, Copy, PartialEq)]
enum Mapping {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    CropAndResize,
}

/// What to do along one axis.
#[derive(Clone, Copy)]
struct Axis {
    input_len: usize,
    output_len: usize,
    scale: f64,
    /// Part of the input that [`Mapping::CropAndResize`] looks at.
    roi: [f64; 2],
}

struct Plan {
    filter: Filter,
    mapping: Mapping,
    is_smoothed: bool,
    excludes_outside: bool,
    extrapolation: f64,
}

/// The input's elements behind one position of the output; none outside of it.
type Taps = Option<Vec<(usize, f64)>>;

impl Axis {
    fn is_identity(&self) -> bool {
        self.output_len == self.input_len
            && (self.scale - 1.0).abs() < 1e-9
            && self.roi == [0.0, 1.0]
    }
}

impl Plan {
    fn read(ctx: &OpContext<'_>) -> Result<Self> {
        let nearest = match ctx.text("nearest_mode", "round_prefer_floor")? {
            "round_prefer_floor" => Nearest::RoundPreferFloor,
            "round_prefer_ceil" => Nearest::RoundPreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return Err(ctx.bad_attribute("nearest_mode", format!("is {other:?}"))),
        };
        let filter = match ctx.text("mode", "nearest")? {
            "nearest" => Filter::Nearest(nearest),
            "linear" => Filter::Linear,
            "cubic" => Filter::Cubic(ctx.float("cubic_coeff_a", -0.75)?.into()),
            other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
        };
        let mapping = match ctx.text("coordinate_transformation_mode", "half_pixel")? {
            "half_pixel" => Mapping::HalfPixel,
            "half_pixel_symmetric" => Mapping::HalfPixelSymmetric,
            "pytorch_half_pixel" => Mapping::PytorchHalfPixel,
            "align_corners" => Mapping::AlignCorners,
            "asymmetric" => Mapping::Asymmetric,
            "tf_crop_and_resize" => Mapping::CropAndResize,
            other => {
                let name = "coordinate_transformation_mode";
                return Err(ctx.bad_attribute(name, format!("is {other:?}")));
            }
        };
        let is_smoothed = ctx.flag("antialias", false)?;
        if is_smoothed && matches!(filter, Filter::Nearest(_)) {
            return Err(ctx.bad_attribute("antialias", "needs mode linear or cubic"));
        }
        Ok(Self {
            filter,
            mapping,
            is_smoothed,
            excludes_outside: ctx.flag("exclude_outside", false)?,
            extrapolation: ctx.float("extrapolation_value", 0.0)?.into(),
        })
    }

    /// Where position `at` of the output lies in the input.
    fn source(&self, axis: &Axis, at: usize) -> f64 {
        let (x, input) = (at as f64, axis.input_len as f64);
        // The exact length, of which the output's is the integer part.
        let output = axis.scale * input;
        match self.mapping {
            Mapping::HalfPixel => (x + 0.5) / axis.scale - 0.5,
            Mapping::HalfPixelSymmetric => {
                let adjustment = axis.output_len as f64 / output;
                input / 2.0 * (1.0 - adjustment) + (x + 0.5) / axis.scale - 0.5
            }
            Mapping::PytorchHalfPixel if output == 1.0 => -0.5,
            Mapping::PytorchHalfPixel => (x + 0.5) / axis.scale - 0.5,
            Mapping::AlignCorners if output == 1.0 => 0.0,
            Mapping::AlignCorners => x * (input - 1.0) / (output - 1.0),
            Mapping::Asymmetric => x / axis.scale,
            Mapping::CropAndResize => {
                let [start, end] = axis.roi;
                let within = match output {
                    1.0 => (end - start) * (input - 1.0) / 2.0,
                    _ => x * (end - start) * (input - 1.0) / (output - 1.0),
                };
                within + start * (input - 1.0)
            }
        }
    }

    /// Weights of the elements from `first` on, for a point `distance` behind
    /// the element before it, in `(0, 1]`.
    fn weights(&self, distance: f64, scale: f64) -> (isize, Vec<f64>) {
        // A smaller output averages over more elements.
        let stretch = if self.is_smoothed { scale.min(1.0) } else { 1.0 };
        let (reach, weight): (f64, Box<dyn Fn(f64) -> f64>) = match self.filter {
            Filter::Nearest(nearest) => {
                let is_next = match nearest {
                    _ if distance == 1.0 => true,
                    Nearest::RoundPreferFloor => distance > 0.5,
                    Nearest::RoundPreferCeil => distance >= 0.5,
                    Nearest::Floor => false,
                    Nearest::Ceil => true,
                };
                return (isize::from(is_next), vec![1.0]);
            }
            Filter::Linear => (1.0, Box::new(|x: f64| (1.0 - x.abs()).max(0.0))),
            Filter::Cubic(a) => (2.0, Box::new(move |x| cubic(x.abs(), a))),
        };
        let first = (-reach / stretch).floor() as isize + 1;
        let weights: Vec<f64> =
            (first..=1 - first).map(|at| weight(stretch * (at as f64 - distance))).collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.into_iter().map(|weight| weight / sum).collect())
    }

    fn taps(&self, axis: &Axis, at: usize) -> Taps {
        let (x, last) = (self.source(axis, at), axis.input_len as isize - 1);
        if self.mapping == Mapping::CropAndResize && !(0.0..=last as f64).contains(&x) {
            return None;
        }
        let before = x.ceil() as isize - 1;
        let (first, mut weights) = self.weights(x - before as f64, axis.scale);
        let index = |at: usize| before + first + at as isize;
        if self.excludes_outside {
            for (at, weight) in weights.iter_mut().enumerate() {
                if !(0..=last).contains(&index(at)) {
                    *weight = 0.0;
                }
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        let clamped = weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0);
        Some(clamped.map(|(at, &weight)| (index(at).clamp(0, last) as usize, weight)).collect())
    }
}

fn cubic(x: f64, a: f64) -> f64 {
    match x {
        x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}

/// What a resizing node reads along each axis, for devices that compute it elsewhere.
#[derive(Debug)]
pub struct Resampling {
    /// Axes in the order in which they are resized.
    pub axes: Vec<AxisWeights>,
    /// What lies outside of the input.
    pub extrapolation: f64,
}

/// The weighted elements that each position along an axis is made of.
#[derive(Debug)]
pub struct AxisWeights {
    /// The axis.
    pub axis: usize,
    /// Whether nothing changes along it.
    pub is_identity: bool,
    /// Place and weight of elements for each position; `None` outside of the input.
    pub taps: Vec<Option<Vec<(usize, f64)>>>,
}

/// The weights of a node; of its first operand only the shape counts.
///
/// ## Errors
/// Those of the operation.
pub fn resampling(ctx: &OpContext<'_>) -> Result<Resampling> {
    let (plan, axes) = match ctx.node.op.name {
        "Resize" if ctx.opset() >= 11 => resize_plan(ctx)?,
        _ => upsample_plan(ctx)?,
    };
    if ctx.tensor(0)?.is_empty() {
        return Err(Error::invalid("cannot interpolate between no elements"));
    }
    let axes = axes.iter().map(|(axis, target)| AxisWeights {
        axis: *axis,
        is_identity: target.is_identity(),
        taps: (0..target.output_len).map(|to| plan.taps(target, to)).collect(),
    });
    Ok(Resampling { axes: axes.collect(), extrapolation: plan.extrapolation })
}

/// Opset 11 on: inputs are the tensor, a region, and scales or sizes.
fn resize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (plan, axes) = resize_plan(ctx)?;
    one(interpolate(ctx.tensor(0)?, &plan, &axes))
}

fn resize_plan(ctx: &OpContext<'_>) -> Result<(Plan, Vec<(usize, Axis)>)> {
    let x = ctx.tensor(0)?;
    let plan = Plan::read(ctx)?;
    let which = match ctx.ints("axes")? {
        Some(list) => axes(list, x.rank())?,
        None => (0..x.rank()).collect(),
    };
    let list = |index: usize, expected: usize| -> Result<Option<Vec<f64>>> {
        let list = ctx.optional_tensor(index)?.map(numbers).transpose()?;
        let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
        if list.len() == expected && list.iter().all(|x| x.is_finite()) {
            return Ok(Some(list));
        }
        Err(Error::invalid(format!("input {index} must hold {expected} numbers, found {list:?}")))
    };
    let roi = match plan.mapping {
        Mapping::CropAndResize => list(1, 2 * which.len())?,
        _ => None,
    };
    let (scales, sizes) = (list(2, which.len())?, list(3, which.len())?);
    let lens: Vec<usize> = which.iter().map(|&axis| x.shape()[axis]).collect();
    let targets = match (scales, sizes) {
        (Some(scales), None) => from_scales(&lens, &scales)?,
        (None, Some(_)) => from_sizes(ctx, &lens, &dims(&ctx.i64s(3)?)?)?,
        _ => return Err(Error::invalid("exactly one of scales and sizes must be given")),
    };
    let plans: Vec<(usize, Axis)> = which
        .iter()
        .enumerate()
        .map(|(at, &axis)| {
            let (scale, output_len) = targets[at];
            let roi = roi.as_ref().map_or([0.0, 1.0], |roi| [roi[at], roi[which.len() + at]]);
            (axis, Axis { input_len: lens[at], output_len, scale, roi })
        })
        .collect();
    Ok((plan, plans))
}

/// Until opset 10: positions map by the scale alone.
fn upsample(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (plan, axes) = upsample_plan(ctx)?;
    one(interpolate(ctx.tensor(0)?, &plan, &axes))
}

fn upsample_plan(ctx: &OpContext<'_>) -> Result<(Plan, Vec<(usize, Axis)>)> {
    let x = ctx.tensor(0)?;
    let filter = match ctx.text("mode", "nearest")? {
        "nearest" => Filter::Nearest(Nearest::Floor),
        "linear" => Filter::Linear,
        other => return Err(ctx.bad_attribute("mode", format!("is {other:?}"))),
    };
    let scales = match ctx.floats("scales")? {
        Some(scales) => scales.iter().map(|&scale| f64::from(scale)).collect(),
        None => numbers(ctx.tensor(1)?)?,
    };
    if scales.len() != x.rank() {
        return Err(Error::invalid(format!("expected {} scales, found {scales:?}", x.rank())));
    }
    let plan = Plan {
        filter,
        mapping: Mapping::Asymmetric,
        is_smoothed: false,
        excludes_outside: false,
        extrapolation: 0.0,
    };
    let targets = from_scales(x.shape(), &scales)?;
    let plans: Vec<_> = targets
        .into_iter()
        .zip(x.shape())
        .map(|((scale, output_len), &input_len)| Axis {
            input_len,
            output_len,
            scale,
            roi: [0.0, 1.0],
        })
        .enumerate()
        .collect();
    Ok((plan, plans))
}

fn from_scales(lens: &[usize], scales: &[f64]) -> Result<Vec<(f64, usize)>> {
    let target = |(&len, &scale): (&usize, &f64)| {
        let output = (len as f64 * scale).floor();
        match scale > 0.0 && output <= (1u64 << 48) as f64 {
            true => Ok((scale, output as usize)),
            false => Err(Error::invalid(format!("scale {scale} is out of range"))),
        }
    };
    lens.iter().zip(scales).map(target).collect()
}

fn from_sizes(ctx: &OpContext<'_>, lens: &[usize], sizes: &[usize]) -> Result<Vec<(f64, usize)>> {
    let scales = || lens.iter().zip(sizes).map(|(&len, &size)| size as f64 / len as f64);
    let common = match ctx.text("keep_aspect_ratio_policy", "stretch")? {
        "stretch" => return Ok(scales().zip(sizes.iter().copied()).collect()),
        "not_larger" => scales().fold(f64::INFINITY, f64::min),
        "not_smaller" => scales().fold(0.0, f64::max),
        other => return Err(ctx.bad_attribute("keep_aspect_ratio_policy", format!("is {other:?}"))),
    };
    Ok(lens.iter().map(|&len| (common, (common * len as f64 + 0.5).floor() as usize)).collect())
}

fn interpolate(x: &Tensor, plan: &Plan, axes: &[(usize, Axis)]) -> Result<Tensor> {
    let mut out_shape = x.shape().to_vec();
    for (axis, target) in axes {
        out_shape[*axis] = target.output_len;
    }
    element_count(&out_shape, x.dtype())?;
    if x.is_empty() {
        let is_empty = out_shape.contains(&0);
        let error = || Error::invalid("cannot interpolate between no elements");
        return is_empty.then(|| Tensor::zeros(&out_shape, x.dtype())).ok_or_else(error)?;
    }
    match x.dtype().class() {
        Class::F32 => pass_all::<f32>(x, plan, axes),
        Class::F64 | Class::I64 | Class::U64 => pass_all::<f64>(x, plan, axes),
        _ => Err(unsupported(0, x.dtype(), "a number")),
    }
}

/// Arithmetic that interpolation needs.
trait Real: Compute {
    fn of(wide: f64) -> Self;
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(wide: f64) -> Self {
        wide as Self
    }

    fn wide(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(wide: f64) -> Self {
        wide
    }

    fn wide(self) -> f64 {
        self
    }
}

fn pass_all<T: Real>(x: &Tensor, plan: &Plan, axes: &[(usize, Axis)]) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    let mut elements = T::widen(x)?.into_owned();
    for (at, axis) in axes {
        if axis.is_identity() {
            continue;
        }
        let taps: Vec<Taps> = (0..axis.output_len).map(|to| plan.taps(axis, to)).collect();
        let inner: usize = shape[at + 1..].iter().product();
        shape[*at] = axis.output_len;
        let mut out = vec![T::default(); element_count(&shape, DType::F64)?];
        let fill = |taps: &Taps, piece: &mut [T], base: usize| match taps.as_deref() {
            None => piece.fill(T::of(plan.extrapolation)),
            Some(&[(from, 1.0)]) => {
                piece.copy_from_slice(&elements[base + from * inner..][..piece.len()]);
            }
            Some(taps) => {
                for (shift, out) in piece.iter_mut().enumerate() {
                    let at = |from: usize| elements[base + from * inner + shift].wide();
                    *out = T::of(taps.iter().map(|&(from, weight)| at(from) * weight).sum());
                }
            }
        };
        if inner == 1 {
            parallel::whole_rows(&mut out, axis.output_len, &|outer, line| {
                for (piece, taps) in line.chunks_mut(1).zip(&taps) {
                    fill(taps, piece, outer * axis.input_len);
                }
            });
        } else {
            parallel::rows(&mut out, inner.max(1), &|row, column, piece| {
                let (outer, to) = (row / axis.output_len, row % axis.output_len);
                fill(&taps[to], piece, outer * axis.input_len * inner + column);
            });
        }
        elements = out;
    }
    // Cubic weights overshoot; integers saturate at their limits.
    if x.dtype().is_integer() {
        let (low, high) = integer_range(x.dtype());
        elements.iter_mut().for_each(|x| *x = T::of(x.wide().clamp(low, high)));
    }
    Tensor::computed(&shape, x.dtype(), elements)
}

/// Least and greatest value of an integer type.
fn integer_range(dtype: DType) -> (f64, f64) {
    let bits = dtype.bits() as i32;
    match dtype.class() {
        Class::U64 => (0.0, 2f64.powi(bits) - 1.0),
        _ => (-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0),
    }
}
