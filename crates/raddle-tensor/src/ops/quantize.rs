//! Between numbers and their quantised forms `round(x / scale) + zero point`,
//! with one scale for a tensor, for each place along an axis, or for each block.

use super::elementwise::unsupported;
use super::real::Real;
use crate::DTypeRule::{Computed, Is};
use crate::Kind::Int;
use crate::convert::Overflow;
use crate::infer::rules;
use crate::{
    Class, DType, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    parallel, shape,
};

const fn row(name: &'static str, since: u32, until: u32) -> Op {
    op(name, since..=until).inputs(2, 3).result(Computed, ShapeRule::Like(0)).infer(rules::quantize)
}

/// Rows of this family.
pub const ROWS: &[Op] = &[
    row("QuantizeLinear", 10, 12).run(quantize),
    row("QuantizeLinear", 13, 18).attributes(&[("axis", Int)]).run(quantize),
    row("QuantizeLinear", 19, 20).attributes(&[("axis", Int), ("saturate", Int)]).run(quantize),
    row("QuantizeLinear", 21, 22)
        .attributes(&[("axis", Int), ("block_size", Int), ("output_dtype", Int), ("saturate", Int)])
        .run(quantize),
    row("QuantizeLinear", 23, LATEST)
        .attributes(&[
            ("axis", Int),
            ("block_size", Int),
            ("output_dtype", Int),
            ("precision", Int),
            ("saturate", Int),
        ])
        .run(quantize),
    row("DequantizeLinear", 10, 12).run(dequantize),
    row("DequantizeLinear", 13, 20).attributes(&[("axis", Int)]).run(dequantize),
    row("DequantizeLinear", 21, 22)
        .attributes(&[("axis", Int), ("block_size", Int)])
        .run(dequantize),
    row("DequantizeLinear", 23, LATEST)
        .attributes(&[("axis", Int), ("block_size", Int), ("output_dtype", Int)])
        .run(dequantize),
    op("DynamicQuantizeLinear", 11..=LATEST)
        .outputs(3, 3)
        .result(Is(DType::U8), ShapeRule::Like(0))
        .infer(rules::dynamic_quantize)
        .run(dynamic_quantize),
];

/// Least and greatest value of a quantised integer type.
///
/// ## Errors
/// [`Error::UnsupportedType`] for types that nothing is quantised to.
pub fn range(dtype: DType) -> Result<(f64, f64)> {
    let bits = dtype.bits() as i32;
    match dtype.class() {
        Class::U64 if bits <= 16 => Ok((0.0, 2f64.powi(bits) - 1.0)),
        Class::I64 if bits <= 16 => Ok((-(2f64.powi(bits - 1)), 2f64.powi(bits - 1) - 1.0)),
        _ => Err(Error::UnsupportedType {
            what: "the quantised tensor".into(),
            found: dtype,
            expected: "an integer of at most 16 bits or a float of at most 8".into(),
        }),
    }
}

fn is_small_float(dtype: DType) -> bool {
    dtype.is_float() && dtype.bits() <= 8 && dtype != DType::F8E8M0
}

/// Which scale belongs to each element.
struct Grain {
    /// Rows have one scale (or, in blocks, one for each element) throughout.
    row_len: usize,
    /// Rows along the axis.
    len: usize,
    /// Rows along the axis that share their scales.
    block: usize,
    /// Groups of such rows at one place of the dimensions before the axis; 0 if
    /// all those places have the same scales.
    blocks: usize,
    /// Scales for a row: 1, or as many as elements.
    width: usize,
}

impl Grain {
    fn of(ctx: &OpContext<'_>, x: &Tensor, scale: &Tensor) -> Result<Self> {
        let block = ctx.int("block_size", 0)?;
        let whole = Self { row_len: x.len(), len: 1, block: 1, blocks: 0, width: 1 };
        if scale.len() == 1 && scale.rank() <= 1 && block == 0 {
            return Ok(whole);
        }
        let mismatch = |why| Error::ShapeMismatch {
            left: x.shape().to_vec(),
            right: scale.shape().to_vec(),
            why,
        };
        if ctx.opset() < 13 {
            return Err(mismatch("before opset 13 there is one scale for a tensor"));
        }
        let axis = shape::axis(ctx.int("axis", 1)?, x.rank())?;
        let len = x.shape()[axis];
        let row_len = x.shape()[axis + 1..].iter().product();
        if block == 0 {
            return match *scale.shape() == [len] {
                true => Ok(Self { row_len, len, block: 1, blocks: 0, width: 1 }),
                false => Err(mismatch("there must be one scale for each place along the axis")),
            };
        }
        let block = usize::try_from(block)
            .map_err(|_| ctx.bad_attribute("block_size", "must not be negative"))?;
        let mut expected = x.shape().to_vec();
        expected[axis] = len.div_ceil(block);
        match scale.shape() == expected {
            true => Ok(Self { row_len, len, block, blocks: expected[axis], width: row_len }),
            false => Err(mismatch("there must be one scale for each block along the axis")),
        }
    }

    /// The first scale of a row.
    fn scale_of(&self, row: usize) -> usize {
        (row / self.len * self.blocks + row % self.len / self.block) * self.width
    }

    /// Applies `function(x, scale, zero point)` to every element.
    fn apply<T: Real>(
        &self,
        x: &mut [T],
        scale: &[T],
        zero: Option<&[T]>,
        function: &(impl Fn(T, T, T) -> T + Sync),
    ) {
        parallel::rows(x, self.row_len, &|row, column, piece| {
            let first = self.scale_of(row);
            if self.width == 1 {
                let (scale, zero) = (scale[first], zero.map_or(T::default(), |zero| zero[first]));
                piece.iter_mut().for_each(|x| *x = function(*x, scale, zero));
            } else {
                for (at, x) in piece.iter_mut().enumerate() {
                    let at = first + column + at;
                    *x = function(*x, scale[at], zero.map_or(T::default(), |zero| zero[at]));
                }
            }
        });
    }
}

/// A zero point must be of the scale's shape.
fn zero_point<'a>(ctx: &'a OpContext<'_>, scale: &Tensor) -> Result<Option<&'a Tensor>> {
    match ctx.optional_tensor(2)? {
        Some(zero) if zero.len() != scale.len() => Err(Error::ShapeMismatch {
            left: scale.shape().to_vec(),
            right: zero.shape().to_vec(),
            why: "scales and zero points must have one shape",
        }),
        other => Ok(other),
    }
}

fn quantize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    for (index, dtype) in [(0, x.dtype()), (1, scale.dtype())] {
        if !(dtype.is_float() || dtype == DType::I32) {
            return Err(unsupported(index, dtype, "a float or int32"));
        }
    }
    let zero = zero_point(ctx, scale)?;
    let stated = match ctx.int("output_dtype", 0)? {
        0 => None,
        _ => ctx.dtype_attribute("output_dtype")?,
    };
    let to = match (zero.map(Tensor::dtype), stated) {
        (Some(own), Some(stated)) if own != stated => {
            let why = format!("names {stated}, but the zero point is of {own}");
            return Err(ctx.bad_attribute("output_dtype", why));
        }
        (Some(dtype), _) | (None, Some(dtype)) => dtype,
        (None, None) => DType::U8,
    };
    let precision = match ctx.int("precision", 0)? {
        0 => Some(scale.dtype()),
        _ => ctx.dtype_attribute("precision")?,
    };
    let precision = precision.filter(|dtype| dtype.is_float() && dtype.bits() > 8);
    one(if x.dtype() == DType::F64 || x.dtype() == DType::I32 || precision == Some(DType::F64) {
        quantize_as::<f64>(ctx, [x, scale], (zero, to), precision)
    } else {
        quantize_as::<f32>(ctx, [x, scale], (zero, to), precision)
    })
}

fn quantize_as<T: Real>(
    ctx: &OpContext<'_>,
    [x, scale]: [&Tensor; 2],
    (zero, to): (Option<&Tensor>, DType),
    precision: Option<DType>,
) -> Result<Tensor> {
    let grain = Grain::of(ctx, x, scale)?;
    let scale = T::widen(scale)?;
    let zero = zero.map(|zero| T::widen(zero)).transpose()?;
    let mut y = T::widen(x)?.into_owned();
    // A quotient is rounded to the precision that it is computed in.
    let divide: fn(T, T) -> T = match precision {
        Some(DType::F16) => |x, s| T::of(half::f16::from_f64((x / s).wide()).to_f64()),
        Some(DType::BF16) => |x, s| T::of(half::bf16::from_f64((x / s).wide()).to_f64()),
        Some(DType::F32) => |x, s| T::of(f64::from((x / s).wide() as f32)),
        _ => |x, s| x / s,
    };
    let zero = zero.as_deref();
    if is_small_float(to) {
        grain.apply(&mut y, &scale, zero, &|x, scale, zero| divide(x, scale) + zero);
        let saturates = ctx.flag("saturate", true)?;
        let overflow = if saturates { Overflow::Saturate } else { Overflow::Special };
        return Tensor::from_data(x.shape(), to, T::narrow(y, to, overflow)?);
    }
    let (low, high) = range(to)?;
    let (low, high) = (T::of(low), T::of(high));
    grain.apply(&mut y, &scale, zero, &|x, scale, zero| {
        let y = divide(x, scale).round_even() + zero;
        // NaN becomes the least value, as where it passes through an integer.
        if y >= high {
            high
        } else if y > low {
            y
        } else {
            low
        }
    });
    Tensor::computed(x.shape(), to, y)
}

fn dequantize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let (x, scale) = (ctx.tensor(0)?, ctx.tensor(1)?);
    if x.dtype() != DType::I32 && !is_small_float(x.dtype()) {
        range(x.dtype())?;
    }
    if !scale.dtype().is_float() {
        return Err(unsupported(1, scale.dtype(), "a float"));
    }
    let zero = zero_point(ctx, scale)?;
    if let Some(zero) = zero.filter(|zero| zero.dtype() != x.dtype()) {
        return Err(unsupported(2, zero.dtype(), x.dtype().name()));
    }
    let to = match ctx.int("output_dtype", 0)? {
        0 => Some(scale.dtype()),
        _ => ctx.dtype_attribute("output_dtype")?,
    };
    let to = to.filter(|to| to.is_float() && to.bits() > 8).ok_or_else(|| {
        ctx.bad_attribute("output_dtype", "must name a float of more than 8 bits for this scale")
    })?;
    one(if x.dtype() == DType::I32 || to == DType::F64 {
        dequantize_as::<f64>(ctx, x, (scale, zero), to)
    } else {
        dequantize_as::<f32>(ctx, x, (scale, zero), to)
    })
}

fn dequantize_as<T: Real>(
    ctx: &OpContext<'_>,
    x: &Tensor,
    (scale, zero): (&Tensor, Option<&Tensor>),
    to: DType,
) -> Result<Tensor> {
    let grain = Grain::of(ctx, x, scale)?;
    let scale = T::widen(scale)?;
    let zero = zero.map(|zero| T::widen(zero)).transpose()?;
    let mut y = T::widen(x)?.into_owned();
    grain.apply(&mut y, &scale, zero.as_deref(), &|x, scale, zero| (x - zero) * scale);
    Tensor::computed(x.shape(), to, y)
}

/// Bytes with the scale and zero point that use their range best.
fn dynamic_quantize(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let elements = x.elements::<f32>()?;
    // Zero must have a form of its own.
    let (min, max) = elements.iter().fold((0f32, 0f32), |(min, max), &x| (min.min(x), max.max(x)));
    let scale = (if max == min { 1.0 } else { max - min }) / 255.0;
    let zero = (-min / scale).clamp(0.0, 255.0).round_ties_even();
    let mut y = vec![0u8; elements.len()];
    parallel::rows(&mut y, elements.len(), &|_, column, piece| {
        for (y, x) in piece.iter_mut().zip(&elements[column..]) {
            *y = ((x / scale).round_ties_even() + zero) as u8;
        }
    });
    Ok(vec![
        Tensor::new(x.shape(), y)?.into(),
        Tensor::scalar(scale).into(),
        Tensor::scalar(zero as u8).into(),
    ])
}
