//! Matrix products and convolutions of quantised numbers.
//!
//! Differences from zero points are at most 255 in magnitude, so a sum of up to
//! 256 products is exact in `f32`, and every sum of practical length is in
//! `f64`: both go through the GEMM for floats.

use super::conv::convolve;
use super::elementwise::unsupported;
use super::linear::matmul_tensors;
use super::quantize::range;
use crate::DTypeRule::{Is, Like};
use crate::Kind::{Int, Ints, String as Text};
use crate::convert::Compute;
use crate::infer::rules;
use crate::movement::expand;
use crate::shape::broadcast;
use crate::{
    DType, Error, Kind, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel,
};

/// Attributes of convolutions.
const WINDOW: &[(&str, Kind)] = &[
    ("auto_pad", Text),
    ("dilations", Ints),
    ("group", Int),
    ("kernel_shape", Ints),
    ("pads", Ints),
    ("strides", Ints),
];

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("MatMulInteger", 10..=LATEST)
        .inputs(2, 4)
        .result(Is(DType::I32), ShapeRule::Computed)
        .dims(rules::matmul_integer)
        .run(matmul_integer),
    op("QLinearMatMul", 10..=LATEST)
        .inputs(8, 8)
        .result(Like(7), ShapeRule::Computed)
        .dims(rules::matmul_integer)
        .run(qlinear_matmul),
    op("ConvInteger", 10..=LATEST)
        .inputs(2, 4)
        .attributes(WINDOW)
        .result(Is(DType::I32), ShapeRule::Computed)
        .dims(rules::conv_integer)
        .run(conv_integer),
    op("QLinearConv", 10..=LATEST)
        .inputs(8, 9)
        .attributes(WINDOW)
        .result(Like(7), ShapeRule::Computed)
        .dims(rules::qlinear_conv)
        .run(qlinear_conv),
];

/// Products whose sum is exact in `f32`: 256 * 255 * 255 < 2^24.
const F32_TERMS_MAX: usize = 256;

/// Which dimension of an operand a vector of scales or zero points goes along.
#[derive(Clone, Copy)]
enum Along {
    Rows,
    Columns,
    /// The first: output channels of a convolution's weights.
    Channels,
}

/// A scale or zero point as it broadcasts to an operand of rank `rank`.
fn aligned(index: usize, parameter: &Tensor, rank: usize, along: Along) -> Result<Tensor> {
    let len = parameter.len();
    let shape = match (parameter.rank(), along) {
        (0, _) => Vec::new(),
        (1, _) if len == 1 => Vec::new(),
        (1, Along::Rows) if rank > 1 => vec![len, 1],
        (1, Along::Channels) => {
            let mut shape = vec![1; rank];
            shape[0] = len;
            shape
        }
        (1, _) => vec![len],
        (own, Along::Rows | Along::Columns) if own == rank => parameter.shape().to_vec(),
        _ => {
            return Err(Error::invalid(format!(
                "input {index} must be a scalar or a vector, found shape {:?}",
                parameter.shape()
            )));
        }
    };
    parameter.clone().reshape(&shape)
}

/// An operand with its zero point, if input `zero` has one, taken off.
fn centred(
    ctx: &OpContext<'_>,
    index: usize,
    (zero, along): (usize, Along),
    dtype: DType,
) -> Result<Tensor> {
    let x = ctx.tensor(index)?;
    let mut elements = f32::widen(x)?.into_owned();
    if let Some(zero_point) = ctx.optional_tensor(zero)? {
        if zero_point.dtype() != x.dtype() {
            return Err(unsupported(zero, zero_point.dtype(), x.dtype().name()));
        }
        let aligned = aligned(zero, zero_point, x.rank(), along)?;
        if aligned.rank() == 0 {
            let zero = f32::widen(&aligned)?[0];
            elements.iter_mut().for_each(|x| *x -= zero);
        } else {
            let spread = fitted(zero, &aligned, x.shape())?;
            elements.iter_mut().zip(f32::widen(&spread)?.iter()).for_each(|(x, zero)| *x -= zero);
        }
    }
    Tensor::computed(x.shape(), dtype, elements)
}

/// A parameter spread over `shape`, to which it must broadcast.
fn fitted(index: usize, parameter: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if broadcast(parameter.shape(), shape).ok().as_deref() != Some(shape) {
        return Err(Error::invalid(format!(
            "input {index} of shape {:?} does not broadcast to {shape:?}",
            parameter.shape()
        )));
    }
    expand(parameter, shape)
}

/// Both operands must be of 8 bits; integers if `is_integer`.
fn check_operands(ctx: &OpContext<'_>, indices: [usize; 2], is_integer: bool) -> Result<()> {
    for index in indices {
        let dtype = ctx.tensor(index)?.dtype();
        let is_small_float = dtype.is_float() && dtype.bits() == 8 && dtype != DType::F8E8M0;
        if !matches!(dtype, DType::I8 | DType::U8) && (is_integer || !is_small_float) {
            let expected = if is_integer { "int8 or uint8" } else { "a type of 8 bits" };
            return Err(unsupported(index, dtype, expected));
        }
    }
    Ok(())
}

/// The type that a sum of `terms` products is exact in.
fn exact(terms: usize, is_integer: bool) -> DType {
    if is_integer && terms <= F32_TERMS_MAX { DType::F32 } else { DType::F64 }
}

/// The product of operands `a` and `b`, less their zero points; exact.
fn product(ctx: &OpContext<'_>, a: [usize; 2], b: [usize; 2]) -> Result<Tensor> {
    let terms = ctx.tensor(a[0])?.shape().last().copied().unwrap_or(1);
    let is_integer =
        [a[0], b[0]].iter().all(|&at| ctx.tensor(at).is_ok_and(|x| x.dtype().is_integer()));
    let dtype = exact(terms, is_integer);
    let left = centred(ctx, a[0], (a[1], Along::Rows), dtype)?;
    let right = centred(ctx, b[0], (b[1], Along::Columns), dtype)?;
    matmul_tensors(&left, &right)
}

fn as_i32(sums: &Tensor) -> Result<Tensor> {
    // Through i64, so that sums beyond i32 wrap as they do in hardware.
    Tensor::computed(sums.shape(), DType::I32, i64::widen(sums)?.into_owned())
}

fn matmul_integer(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    check_operands(ctx, [0, 1], true)?;
    one(as_i32(&product(ctx, [0, 2], [1, 3])?))
}

/// `round(a b a_scale b_scale / y_scale) + y_zero` with saturation.
fn qlinear_matmul(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    check_operands(ctx, [0, 3], false)?;
    let sums = product(ctx, [0, 2], [3, 5])?;
    let (a, b) = (ctx.tensor(0)?, ctx.tensor(3)?);
    let a_scale = aligned(1, ctx.tensor(1)?, a.rank(), Along::Rows)?;
    let b_scale = aligned(4, ctx.tensor(4)?, b.rank(), Along::Columns)?;
    one(requantized(ctx, &sums, [(1, a_scale), (4, b_scale)]))
}

/// Sums as the type of the output's zero point (input 7) with its scale (input 6).
fn requantized(ctx: &OpContext<'_>, sums: &Tensor, scales: [(usize, Tensor); 2]) -> Result<Tensor> {
    let (scale, zero) = (ctx.tensor(6)?, ctx.tensor(7)?);
    let single = |index: usize, x: &Tensor| match f64::widen(x)?[..] {
        [only] => Ok(only),
        ref many => {
            Err(Error::invalid(format!("input {index} must hold one number, found {}", many.len())))
        }
    };
    let (y_scale, y_zero) = (single(6, scale)?, single(7, zero)?);
    let mut y = f64::widen(sums)?.into_owned();
    let mut factor = y_scale.recip();
    for (index, scale) in &scales {
        if !scale.dtype().is_float() {
            return Err(unsupported(*index, scale.dtype(), "a float"));
        }
        if scale.rank() == 0 {
            factor *= f64::widen(scale)?[0];
        } else {
            let spread = fitted(*index, scale, sums.shape())?;
            y.iter_mut().zip(f64::widen(&spread)?.iter()).for_each(|(y, scale)| *y *= scale);
        }
    }
    let len = y.len();
    if zero.dtype().is_float() {
        parallel::rows(&mut y, len, &|_, _, piece| {
            piece.iter_mut().for_each(|y| *y = *y * factor + y_zero);
        });
    } else {
        let (low, high) = range(zero.dtype())?;
        parallel::rows(&mut y, len, &|_, _, piece| {
            for y in piece {
                *y = ((*y * factor).round_ties_even() + y_zero).clamp(low, high);
            }
        });
    }
    Tensor::computed(sums.shape(), zero.dtype(), y)
}

/// The convolution of operands `x` and `w`, less their zero points; exact.
fn convolution(
    ctx: &OpContext<'_>,
    x: [usize; 2],
    w: [usize; 2],
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    check_operands(ctx, [x[0], w[0]], true)?;
    let terms = ctx.tensor(w[0])?.shape().iter().skip(1).product();
    // A bias of 32 bits takes more digits than `f32` has.
    let dtype = if bias.is_some() { DType::F64 } else { exact(terms, true) };
    let left = centred(ctx, x[0], (x[1], Along::Channels), dtype)?;
    let right = centred(ctx, w[0], (w[1], Along::Channels), dtype)?;
    match dtype {
        DType::F32 => convolve::<f32>(ctx, &left, &right, bias),
        _ => convolve::<f64>(ctx, &left, &right, bias),
    }
}

fn conv_integer(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    check_single(ctx, &[2])?;
    one(as_i32(&convolution(ctx, [0, 2], [1, 3], None)?))
}

fn qlinear_conv(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    check_single(ctx, &[1, 2])?;
    let bias = ctx.optional_tensor(8)?;
    if let Some(bias) = bias.filter(|bias| bias.dtype() != DType::I32) {
        return Err(unsupported(8, bias.dtype(), "int32"));
    }
    let sums = convolution(ctx, [0, 2], [3, 5], bias)?;
    let x_scale = ctx.tensor(1)?.clone().reshape(&[])?;
    // Output channels are the second dimension of the result.
    let w_scale = aligned(4, ctx.tensor(4)?, sums.rank() - 1, Along::Channels)?;
    one(requantized(ctx, &sums, [(1, x_scale), (4, w_scale)]))
}

/// Scales and zero points of a convolution's input are one for the tensor.
fn check_single(ctx: &OpContext<'_>, indices: &[usize]) -> Result<()> {
    for &index in indices {
        if let Some(x) = ctx.optional_tensor(index)?.filter(|x| x.len() != 1 || x.rank() > 1) {
            return Err(Error::invalid(format!(
                "input {index} must be a scalar, found shape {:?}",
                x.shape()
            )));
        }
    }
    Ok(())
}
