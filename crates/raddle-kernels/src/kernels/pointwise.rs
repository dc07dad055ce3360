//! One operation on elements of up to three operands that broadcast.

use raddle::prelude::*;

use super::functions;
use super::scalar::{Compute, Dims, Scalar, View, codes, word};

codes! {
    /// An operation on elements. `Copy` to `Gelu` have one operand, up to `Min` two,
    /// `Where` three.
    Function {
        Copy, Abs, Neg, Sign, Relu, Sqrt, Exp, Log, Sin, Cos, Tan, Asin, Acos, Atan, Sinh,
        Cosh, Tanh, Asinh, Acosh, Atanh, Reciprocal, Floor, Ceil, Round, Sigmoid, Softplus,
        Softsign, HardSwish, Mish, Elu, Celu, Selu, LeakyRelu, ThresholdedRelu, HardSigmoid,
        Shrink, Swish, IsNaN, IsInf, Not, BitNot, Erf, Affine, GeluTanh,
        Gelu,
        Add, Sub, Mul, Div,
        /// The remainder with the sign of the divisor.
        Mod,
        /// The remainder with the sign of the dividend.
        Fmod,
        Pow, PRelu, ShiftLeft, ShiftRight, And, Or, Xor, Equal, Less, Greater,
        LessOrEqual, GreaterOrEqual, Max,
        Min,
        Where,
    }
}

impl Function {
    /// Operands.
    #[inline(always)]
    #[must_use]
    pub const fn arity(self) -> usize {
        match self as u32 {
            code if code <= Self::Gelu as u32 => 1,
            code if code <= Self::Min as u32 => 2,
            _ => 3,
        }
    }
}

/// An operation with its parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Operation {
    /// First parameter.
    pub alpha: f64,
    /// Second parameter.
    pub beta: f64,
    /// Code of the function.
    pub function: u32,
    /// Whether integers are unsigned.
    pub is_unsigned: u32,
    /// Code of the output's elements.
    pub scalar: u32,
    /// Nothing.
    pub padding: u32,
}

/// A type that operations are written for.
pub trait Operate: Compute {
    /// The result for operands of which those that the function has not are zero.
    fn operate(operation: &Operation, operands: [Self; 3]) -> Self;
}

macro_rules! float {
    ($ty:ident, $exp:path, $erf:path, $tanh:path) => {
        impl Operate for $ty {
            #[inline(always)]
            fn operate(operation: &Operation, [x, y, z]: [Self; 3]) -> Self {
                let (alpha, beta) = (operation.alpha as $ty, operation.beta as $ty);
                let truth = |is: bool| if is { 1.0 } else { 0.0 };
                let softplus = |x: $ty| x.max(0.0) + $exp(-x.abs()).ln_1p();
                let sigmoid = |x: $ty| ($exp(-x) + 1.0).recip();
                match Function::of(operation.function) {
                    Function::Copy => x,
                    Function::Abs => x.abs(),
                    Function::Neg => -x,
                    Function::Sign if x == 0.0 || x.is_nan() => x,
                    Function::Sign => (1.0 as $ty).copysign(x),
                    Function::Relu => {
                        if x < 0.0 {
                            0.0
                        } else {
                            x
                        }
                    }
                    Function::Sqrt => x.sqrt(),
                    Function::Exp => $exp(x),
                    Function::Log => x.ln(),
                    Function::Sin => x.sin(),
                    Function::Cos => x.cos(),
                    Function::Tan => x.tan(),
                    Function::Asin => x.asin(),
                    Function::Acos => x.acos(),
                    Function::Atan => x.atan(),
                    Function::Sinh => x.sinh(),
                    Function::Cosh => x.cosh(),
                    Function::Tanh => $tanh(x),
                    Function::Asinh => x.asinh(),
                    Function::Acosh => x.acosh(),
                    Function::Atanh => x.atanh(),
                    Function::Reciprocal => x.recip(),
                    Function::Floor => x.floor(),
                    Function::Ceil => x.ceil(),
                    Function::Round => x.round_ties_even(),
                    Function::Sigmoid => sigmoid(x),
                    Function::Softplus => softplus(x),
                    Function::Softsign => x / (x.abs() + 1.0),
                    Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
                    Function::Mish => x * $tanh(softplus(x)),
                    Function::Elu => {
                        if x < 0.0 {
                            alpha * x.exp_m1()
                        } else {
                            x
                        }
                    }
                    Function::Celu => x.max(0.0) + (alpha * (x / alpha).exp_m1()).min(0.0),
                    Function::Selu => beta * if x > 0.0 { x } else { alpha * x.exp_m1() },
                    Function::LeakyRelu => {
                        if x < 0.0 {
                            alpha * x
                        } else {
                            x
                        }
                    }
                    Function::ThresholdedRelu => {
                        if x > alpha {
                            x
                        } else {
                            0.0
                        }
                    }
                    Function::HardSigmoid => (alpha * x + beta).clamp(0.0, 1.0),
                    Function::Shrink if x < -beta => x + alpha,
                    Function::Shrink if x > beta => x - alpha,
                    Function::Shrink => 0.0,
                    Function::Swish => x * sigmoid(alpha * x),
                    Function::IsNaN => truth(x.is_nan()),
                    Function::IsInf => {
                        truth(x.is_infinite() && if x > 0.0 { alpha != 0.0 } else { beta != 0.0 })
                    }
                    Function::Not => truth(x == 0.0),
                    Function::Erf => $erf(x),
                    Function::Affine => alpha * x + beta,
                    Function::GeluTanh => {
                        // sqrt(2 / pi).
                        let factor =
                            core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2;
                        let inner = factor as $ty * (x + 0.044_715 * x * x * x);
                        0.5 * x * (1.0 + $tanh(inner))
                    }
                    Function::Gelu => {
                        let gate = 1.0 + $erf(x * core::f64::consts::FRAC_1_SQRT_2 as $ty);
                        // Minus infinity is shut out like all large negative numbers.
                        if gate == 0.0 { -0.0 } else { 0.5 * x * gate }
                    }
                    Function::Add => x + y,
                    Function::Sub => x - y,
                    Function::Mul => x * y,
                    Function::Div => x / y,
                    Function::Mod => {
                        let rest = x % y;
                        if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
                    }
                    Function::Fmod => x % y,
                    Function::Pow => x.powf(y),
                    Function::PRelu => {
                        if x < 0.0 {
                            y * x
                        } else {
                            x
                        }
                    }
                    Function::Equal => truth(x == y),
                    Function::Less => truth(x < y),
                    Function::Greater => truth(x > y),
                    Function::LessOrEqual => truth(x <= y),
                    Function::GreaterOrEqual => truth(x >= y),
                    Function::Max => {
                        if y.is_more(x, false) {
                            y
                        } else {
                            x
                        }
                    }
                    Function::Min => {
                        if y.is_less(x, false) {
                            y
                        } else {
                            x
                        }
                    }
                    Function::Where => {
                        if x != 0.0 {
                            y
                        } else {
                            z
                        }
                    }
                    // The host asks for these in integers only.
                    Function::BitNot
                    | Function::ShiftLeft
                    | Function::ShiftRight
                    | Function::And
                    | Function::Or
                    | Function::Xor => panic!("bits of floats are not operated on"),
                }
            }
        }
    };
}
float!(f32, functions::exp_f32, functions::erf_f32, functions::tanh_f32);
float!(f64, f64::exp, libm::erf, f64::tanh);

impl Operate for i64 {
    #[inline(always)]
    fn operate(operation: &Operation, [x, y, z]: [Self; 3]) -> Self {
        let is_unsigned = operation.is_unsigned != 0;
        let more = |a: Self, b: Self| a.is_more(b, is_unsigned);
        // Numbers of a narrower type are shifted out of it.
        let bits = (8 << Scalar::of(operation.scalar).shift()) as u64;
        match Function::of(operation.function) {
            Function::Copy => x,
            Function::Abs => {
                if is_unsigned {
                    x
                } else {
                    x.wrapping_abs()
                }
            }
            Function::Neg => x.wrapping_neg(),
            Function::Sign => {
                if is_unsigned {
                    Self::from(x != 0)
                } else {
                    x.signum()
                }
            }
            Function::Relu => {
                if is_unsigned {
                    x
                } else {
                    x.max(0)
                }
            }
            Function::Not => Self::from(x == 0),
            Function::BitNot => !x,
            Function::Add => x.wrapping_add(y),
            Function::Sub => x.wrapping_sub(y),
            Function::Mul => x.wrapping_mul(y),
            Function::Div | Function::Mod | Function::Fmod if y == 0 => 0,
            Function::Div if is_unsigned => (x as u64 / y as u64) as Self,
            Function::Div => x.wrapping_div(y),
            Function::Mod | Function::Fmod if is_unsigned => (x as u64 % y as u64) as Self,
            Function::Fmod => x.wrapping_rem(y),
            Function::Mod => {
                let rest = x.wrapping_rem(y);
                if rest != 0 && (rest < 0) != (y < 0) { rest + y } else { rest }
            }
            Function::Pow => {
                let (mut power, mut base, mut exponent) = (1i64, x, y);
                while exponent > 0 {
                    if exponent & 1 == 1 {
                        power = power.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exponent >>= 1;
                }
                if y < 0 { Self::from(x == 1) } else { power }
            }
            Function::PRelu => {
                if !is_unsigned && x < 0 {
                    x.wrapping_mul(y)
                } else {
                    x
                }
            }
            Function::ShiftLeft if y as u64 >= bits => 0,
            Function::ShiftLeft => x << y,
            Function::ShiftRight if y as u64 >= bits => 0,
            Function::ShiftRight => (x as u64 >> y) as Self,
            Function::And => x & y,
            Function::Or => x | y,
            Function::Xor => x ^ y,
            Function::Equal => Self::from(x == y),
            Function::Less => Self::from(more(y, x)),
            Function::Greater => Self::from(more(x, y)),
            Function::LessOrEqual => Self::from(!more(x, y)),
            Function::GreaterOrEqual => Self::from(!more(y, x)),
            Function::Max => {
                if more(y, x) {
                    y
                } else {
                    x
                }
            }
            Function::Min => {
                if more(x, y) {
                    y
                } else {
                    x
                }
            }
            Function::Where => {
                if x != 0 {
                    y
                } else {
                    z
                }
            }
            _ => panic!("the function has no integers"),
        }
    }
}

/// A word of the output to each thread.
#[kernel(block = 256, instances(f32, f64, i64))]
pub fn pointwise<W: Operate>(
    operation: Operation,
    dims: Dims,
    views: [View; 3],
    x: &[u64],
    y: &[u64],
    z: &[u64],
    mut out: PerThread<u64>,
) {
    let shift = Scalar::of(operation.scalar).shift();
    let arity = Function::of(operation.function).arity();
    for (index, out) in out.iter_mut() {
        *out = word(index, shift, dims.len, |at| {
            let load = |words: &[u64], view: &View| W::load(words, view.scalar, view.at(&dims, at));
            let mut operands = [load(x, &views[0]), W::ZERO, W::ZERO];
            if arity > 1 {
                operands[1] = load(y, &views[1]);
            }
            if arity > 2 {
                operands[2] = load(z, &views[2]);
            }
            W::operate(&operation, operands).store(operation.scalar)
        });
    }
}
