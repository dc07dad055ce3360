//! Mathematics that kernels written at run time are made of.
//!
//! Each function stands in the PTX by itself, and what writes kernels copies its text to
//! where it is called (`dense/generated`), so that it has the same bits there as in
//! [`super::pointwise`].

use raddle::device::approx::exp2_approx;
use raddle::prelude::*;

/// A function of one number.
#[derive(Clone, Copy)]
enum Mathematics {
    Exp,
    ExpM1,
    Ln,
    Ln1p,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Tanh,
    Asinh,
    Acosh,
    Atanh,
    Erf,
}

impl Mathematics {
    const ALL: [Self; 17] = [
        Self::Exp,
        Self::ExpM1,
        Self::Ln,
        Self::Ln1p,
        Self::Sin,
        Self::Cos,
        Self::Tan,
        Self::Asin,
        Self::Acos,
        Self::Atan,
        Self::Sinh,
        Self::Cosh,
        Self::Tanh,
        Self::Asinh,
        Self::Acosh,
        Self::Atanh,
        Self::Erf,
    ];
}

/// The value of a polynomial, its coefficients from the constant on.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut value = 0.0;
    for coefficient in coefficients.into_iter().rev() {
        value = x.mul_add(value, coefficient);
    }
    value
}

/// The exponential function, within 3 ulp; results below the normal numbers are zero.
///
/// `exp(x) = 2^n * 2^(r * log2(e))` with `n` the whole number nearest to `x * log2(e)`, found
/// by adding a number that leaves no bits for the rest, and `r = x - n * ln(2)` formed with
/// `ln(2)` in two parts. One instruction of the slow unit; std's has three.
#[inline(always)]
#[must_use]
pub fn exp_f32(x: f32) -> f32 {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    /// `1.5 * 2^23`: its sum with a small number is whole, and its low bits count it.
    const WHOLE: f32 = 12_582_912.0;
    let sum = x.mul_add(LOG2_E, WHOLE);
    let n = sum - WHOLE;
    let rest = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let power = exp2_approx(rest * LOG2_E);
    let scaled = f32::from_bits(power.to_bits().wrapping_add(sum.to_bits() << 23));
    if x < -87.336_54 {
        0.0
    } else if x > 88.722_83 {
        f32::INFINITY
    } else if x.is_nan() {
        x
    } else {
        scaled
    }
}

/// The error function, within 2 ulp: minimax polynomials for `erf(x) / x - 1` in `x * x` up
/// to 1, and for `-ln(erfc(x))` from there to 4, where the result is 1.
#[inline(always)]
#[must_use]
pub fn erf_f32(x: f32) -> f32 {
    const LOW: [f32; 7] = [
        0.128_379_17,
        -0.376_126_26,
        0.112_836,
        -0.026_854_444,
        0.005_189_535,
        -0.000_802_084_1,
        7.889_119e-5,
    ];
    const HIGH: [f32; 8] = [
        -0.000_188_040_23,
        1.129_578_5,
        0.633_219_9,
        0.108_418_58,
        -0.025_208_257,
        0.004_204_562,
        -0.000_441_336_36,
        2.168_685e-5,
    ];
    let size = x.abs();
    let low = polynomial(x * x, LOW).mul_add(x, x);
    let high = 1.0 - exp_f32(-polynomial(size.min(4.0), HIGH));
    if size < 1.0 || x.is_nan() { low } else { high.copysign(x) }
}

/// The hyperbolic tangent, within 2 ulp: a minimax polynomial for `(tanh(x) / x - 1) / x^2`
/// in `x * x` up to 0.6, `1 - 2 / (exp(2 x) + 1)` from there.
#[inline(always)]
#[must_use]
pub fn tanh_f32(x: f32) -> f32 {
    const LOW: [f32; 5] =
        [-0.333_333_3, 0.133_329_33, -0.053_876_325, 0.021_121_487, -0.006_283_705];
    let (size, square) = (x.abs(), x * x);
    let low = (polynomial(square, LOW) * square).mul_add(x, x);
    let high = 1.0 - 2.0 / (exp_f32(size + size) + 1.0);
    if size < 0.6 || x.is_nan() { low } else { high.copysign(x) }
}

macro_rules! functions {
    ($ty:ident, $module:ident, $kernel:ident, $exp:path, $erf:path, $tanh:path;
        $($variant:ident $name:ident: |$x:ident| $body:expr;)*) => {
        /// One function each, by the names that the PTX has.
        mod $module {
            $(
                #[inline(never)]
                pub fn $name($x: $ty) -> $ty {
                    $body
                }
            )*

            #[inline(never)]
            pub fn erf(x: $ty) -> $ty {
                $erf(x)
            }

            #[inline(never)]
            pub fn tanh(x: $ty) -> $ty {
                $tanh(x)
            }

            #[inline(never)]
            pub fn exp(x: $ty) -> $ty {
                $exp(x)
            }

            #[inline(never)]
            pub fn powf(x: $ty, y: $ty) -> $ty {
                x.powf(y)
            }
        }

        /// Holds the functions in one image; launched by tests only.
        #[kernel(block = 128)]
        pub fn $kernel(code: u32, x: &[$ty], y: &[$ty], mut out: PerThread<$ty>) {
            for (index, out) in out.iter_mut() {
                *out = match Mathematics::ALL.get(code as usize) {
                    $(Some(Mathematics::$variant) => $module::$name(x[index]),)*
                    Some(Mathematics::Erf) => $module::erf(x[index]),
                    Some(Mathematics::Tanh) => $module::tanh(x[index]),
                    Some(Mathematics::Exp) => $module::exp(x[index]),
                    None => $module::powf(x[index], y[index]),
                };
            }
        }
    };
}

macro_rules! of_both {
    ($($tokens:tt)*) => {
        functions! { f32, singles, functions_f32, super::exp_f32, super::erf_f32, super::tanh_f32; $($tokens)* }
        functions! { f64, doubles, functions_f64, f64::exp, libm::erf, f64::tanh; $($tokens)* }
    };
}

of_both! {
    ExpM1 exp_m1: |x| x.exp_m1();
    Ln ln: |x| x.ln();
    Ln1p ln_1p: |x| x.ln_1p();
    Sin sin: |x| x.sin();
    Cos cos: |x| x.cos();
    Tan tan: |x| x.tan();
    Asin asin: |x| x.asin();
    Acos acos: |x| x.acos();
    Atan atan: |x| x.atan();
    Sinh sinh: |x| x.sinh();
    Cosh cosh: |x| x.cosh();
    Asinh asinh: |x| x.asinh();
    Acosh acosh: |x| x.acosh();
    Atanh atanh: |x| x.atanh();
}
