//! The error function and the activation that is made of it.

use super::elementwise::{map_lines, unsupported};
use crate::DTypeRule::Like;
use crate::Kind::String as Text;
use crate::convert::Compute;
use crate::{
    Class, LATEST, Op, OpContext, Result, ShapeRule, Tensor, Value, one, op, parallel, vector,
};

/// Rows of this family.
pub const ROWS: &[Op] = &[
    op("Erf", 9..=LATEST).result(Like(0), ShapeRule::Like(0)).over().run(erf),
    op("Gelu", 20..=LATEST)
        .attributes(&[("approximate", Text)])
        .result(Like(0), ShapeRule::Like(0))
        .over()
        .run(gelu),
];

/// Square root of two by pi.
const SQRT_2_BY_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

fn map<T: Compute>(x: &Tensor, function: fn(T) -> T) -> Result<Tensor> {
    let mut y = T::widen(x)?.into_owned();
    let len = y.len();
    parallel::rows(&mut y, len, &|_, _, piece| piece.iter_mut().for_each(|x| *x = function(*x)));
    Tensor::computed(x.shape(), x.dtype(), y)
}

/// The error function; of integers it is rounded towards zero.
fn erf(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let x = ctx.tensor(0)?;
    one(match x.dtype().class() {
        Class::F32 => map(x, libm::erff),
        Class::F64 | Class::I64 | Class::U64 => map(x, libm::erf),
        _ => Err(unsupported(0, x.dtype(), "a number")),
    })
}

/// `x P(X <= x)` for a normal `X`, exactly or by ONNX's formula with tanh.
fn gelu(ctx: &mut OpContext<'_>) -> Result<Vec<Value>> {
    let is_exact = match ctx.text("approximate", "none")? {
        "none" => true,
        "tanh" => false,
        other => {
            let why = format!("must be none or tanh, found {other:?}");
            return Err(ctx.bad_attribute("approximate", why));
        }
    };
    if is_exact {
        let wide = |x: f64| match x == f64::NEG_INFINITY {
            // The limit, not a product of infinity and zero.
            true => -0.0,
            false => 0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        };
        return map_lines(ctx, vector::gelu, wide);
    }
    // (1 + tanh u) / 2 = 1 / (1 + e^-2u), which cancels no digits.
    let wide = |x: f64| x / (1.0 + (-2.0 * SQRT_2_BY_PI * (x + 0.044_715 * x * x * x)).exp());
    map_lines(ctx, vector::gelu_tanh, wide)
}
