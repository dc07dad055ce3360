//! Values that come from attributes or small numbers, and conversions between types.

use std::borrow::Cow;

use super::elementwise::unsupported;
use crate::DTypeRule::{Attribute, Computed, Like};
use crate::Kind::{Float, Floats, Int, Ints, String as Text, Strings, Tensor as TensorKind};
use crate::convert::{Compute, Overflow};
use crate::infer::rules;
use crate::minifloat::{ExponentRounding, encode_exponent};
use crate::{
    Class, DType, Data, Error, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op,
    shape,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Constant", 1..=LATEST)
        .inputs(0, 0)
        .attributes(&[
            ("value", TensorKind),
            ("sparse_value", TensorKind),
            ("value_float", Float),
            ("value_floats", Floats),
            ("value_int", Int),
            ("value_ints", Ints),
            ("value_string", Text),
            ("value_strings", Strings),
        ])
        .infer(rules::constant)
        .run(constant),
    op("ConstantOfShape", 9..=LATEST)
        .attributes(&[("value", TensorKind)])
        .infer(rules::constant_of_shape)
        .elements(rules::constant_fill)
        .run(constant_of_shape),
    op("Identity", 1..=LATEST).infer(rules::identity).view().run(|ctx| Ok(vec![ctx.take(0)?])),
    op("Range", 11..=LATEST)
        .inputs(3, 3)
        .result(Like(0), ShapeRule::Computed)
        .dims(rules::range)
        .elements(rules::range_elements)
        .run(range),
    op("Cast", 6..=LATEST)
        .attributes(&[("to", Int), ("saturate", Int), ("round_mode", Text)])
        .result(Attribute("to", DType::F32), ShapeRule::Like(0))
        .elements(rules::cast)
        .run(cast),
    op("CastLike", 15..=LATEST)
        .inputs(2, 2)
        .attributes(&[("saturate", Int), ("round_mode", Text)])
        .result(Like(1), ShapeRule::Like(0))
        .run(cast),
    op("EyeLike", 9..=LATEST)
        .attributes(&[("dtype", Int), ("k", Int)])
        .result(Computed, ShapeRule::Like(0))
        .infer(rules::eye_like)
        .run(eye_like),
];

fn constant(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    use crate::graph::Attribute as A;
    let [(_, value)] = &ctx.node.attributes[..] else {
        return Err(ctx.bad_attribute("value", "must be given in exactly one form"));
    };
    let tensor = match value {
        A::Tensor(tensor) => tensor.clone(),
        A::Float(x) => Tensor::scalar(*x),
        A::Floats(list) => Tensor::vector(list.clone()),
        A::Int(x) => Tensor::scalar(*x),
        A::Ints(list) => Tensor::vector(list.clone()),
        A::String(text) => Tensor::scalar(text.clone()),
        A::Strings(list) => Tensor::vector(list.clone()),
        A::Graph(_) | A::Graphs(_) | A::Tensors(_) | A::Type(_) => {
            return Err(ctx.bad_attribute("value", "is no constant"));
        }
    };
    Ok(vec![tensor.into()])
}

fn constant_of_shape(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let target = shape::dims(&ctx.i64s(0)?)?;
    let value = match ctx.tensor_attribute("value")? {
        Some(value) if value.len() == 1 => value.clone().reshape(&[])?,
        Some(_) => return Err(ctx.bad_attribute("value", "must have one element")),
        None => Tensor::scalar(0f32),
    };
    shape::element_count(&target, value.dtype())?;
    one(crate::movement::expand(&value, &target))
}

/// `start, start + delta, …` before `limit`.
fn range(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let dtype = ctx.tensor(0)?.dtype();
    let scalar = |index: usize| -> Result<(f64, i64)> {
        let tensor = ctx.tensor(index)?;
        match (&f64::widen(tensor)?[..], &i64::widen(tensor)?[..]) {
            (&[float], &[int]) => Ok((float, int)),
            _ => Err(Error::invalid(format!("input {index} must be a scalar"))),
        }
    };
    let (start, limit, delta) = (scalar(0)?, scalar(1)?, scalar(2)?);
    if delta.0 == 0.0 || !delta.0.is_finite() {
        return Err(Error::invalid("the step of a range must be a finite number other than 0"));
    }
    let count = ((limit.0 - start.0) / delta.0).ceil().max(0.0) as usize;
    shape::element_count(&[count], DType::F64)?;
    one(if dtype.is_integer() {
        let element = |at| start.1.wrapping_add((at as i64).wrapping_mul(delta.1));
        Tensor::computed(&[count], dtype, (0..count).map(element).collect())
    } else {
        let element = |at| start.0 + at as f64 * delta.0;
        Tensor::computed(&[count], dtype, (0..count).map(element).collect())
    })
}

fn cast(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let to = match ctx.dtype_attribute("to")? {
        Some(to) => to,
        None if ctx.has(1) => ctx.tensor(1)?.dtype(),
        None => return Err(ctx.bad_attribute("to", "is required")),
    };
    let overflow = if ctx.flag("saturate", true)? { Overflow::Saturate } else { Overflow::Special };
    let rounding = match ctx.text("round_mode", "up")? {
        "up" => ExponentRounding::Up,
        "down" => ExponentRounding::Down,
        "nearest" => ExponentRounding::Nearest,
        other => return Err(ctx.bad_attribute("round_mode", format!("is unknown: {other:?}"))),
    };
    let x = ctx.take_tensor(0)?;
    if to == DType::F8E8M0 && x.dtype() != to {
        let codes = f32::widen(&x)?.iter().map(|&x| encode_exponent(x, rounding)).collect();
        return one(Tensor::from_data(x.shape(), to, Data::new::<u8>(codes)));
    }
    one(convert(&x, to, overflow))
}

/// A tensor in another type (ONNX, "Cast").
///
/// ## Errors
/// [`Error::UnsupportedType`] for complex numbers, [`Error::Invalid`] for text
/// that is no number.
pub fn convert(x: &Tensor, to: DType, overflow: Overflow) -> Result<Tensor> {
    if x.dtype() == to {
        return Ok(x.clone());
    }
    if to == DType::String {
        return to_text(x);
    }
    let data = match x.dtype().class() {
        Class::F32 => f32::narrow(f32::widen(x)?.into_owned(), to, overflow)?,
        Class::F64 => f64::narrow(f64::widen(x)?.into_owned(), to, overflow)?,
        Class::I64 => i64::narrow(i64::widen(x)?.into_owned(), to, overflow)?,
        Class::U64 | Class::Bool => u64::narrow(u64::widen(x)?.into_owned(), to, overflow)?,
        Class::String => {
            let parse = |text: &String| {
                let no_number = |_| Error::invalid(format!("{text:?} is no number"));
                text.trim().parse::<f64>().map_err(no_number)
            };
            let numbers = x.elements::<String>()?.iter().map(parse).collect::<Result<Vec<_>>>()?;
            f64::narrow(numbers, to, overflow)?
        }
        Class::Complex => return Err(unsupported(0, x.dtype(), "a number, bool or string")),
    };
    Tensor::from_data(x.shape(), to, data)
}

fn to_text(x: &Tensor) -> Result<Tensor> {
    let texts: Vec<String> = match x.dtype().class() {
        Class::F32 => f32::widen(x)?.iter().map(|x| decimal(x.to_string())).collect(),
        Class::F64 => f64::widen(x)?.iter().map(|x| decimal(x.to_string())).collect(),
        Class::I64 => i64::widen(x)?.iter().map(i64::to_string).collect(),
        Class::U64 => u64::widen(x)?.iter().map(u64::to_string).collect(),
        Class::Bool => {
            let name = |&x: &bool| if x { "1" } else { "0" }.to_owned();
            x.elements::<bool>()?.iter().map(name).collect()
        }
        Class::String | Class::Complex => {
            return Err(unsupported(0, x.dtype(), "a number or bool"));
        }
    };
    Tensor::new(x.shape(), texts)
}

/// Infinity in ONNX's spelling.
fn decimal(text: String) -> String {
    let spelled = match &text[..] {
        "inf" => Cow::Borrowed("INF"),
        "-inf" => Cow::Borrowed("-INF"),
        _ => Cow::Owned(text),
    };
    spelled.into_owned()
}

/// Ones on a diagonal of a matrix.
fn eye_like(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    let &[rows, columns] = x.shape() else {
        return Err(Error::invalid(format!("a matrix is needed, found shape {:?}", x.shape())));
    };
    let dtype = ctx.dtype_attribute("dtype")?.unwrap_or(x.dtype());
    let k = ctx.int("k", 0)?;
    let mut out = vec![0i64; x.len()];
    for row in 0..rows {
        let column = usize::try_from((row as i64).saturating_add(k)).ok();
        if let Some(column) = column.filter(|&column| column < columns) {
            out[row * columns + column] = 1;
        }
    }
    one(Tensor::computed(x.shape(), dtype, out))
}
