//! Mathematics for device code: the bodies behind std's float methods.
//!
//! They are the `libm` crate's, within 1 ulp for most functions, and depend on
//! nothing but arithmetic, except `expf` and `exp2f`, which softmax and attention
//! live on: they use the hardware's `ex2.approx`, the former after reducing its
//! argument with two fused multiply-adds (error at most 3 and 2 ulp). `powi` is compiler-rt's repeated squaring,
//! as on the host.
//!
//! `raddle-build` sends `llvm.exp.f32`, `expf` and the like here by name.

macro_rules! unary {
    ($($symbol32:ident, $symbol64:ident, $libm32:ident, $libm64:ident;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $symbol32(x: f32) -> f32 {
            libm::$libm32(x)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $symbol64(x: f64) -> f64 {
            libm::$libm64(x)
        }
    )* };
}

macro_rules! binary {
    ($($symbol32:ident, $symbol64:ident, $libm32:ident, $libm64:ident;)*) => { $(
        #[unsafe(no_mangle)]
        extern "C" fn $symbol32(x: f32, y: f32) -> f32 {
            libm::$libm32(x, y)
        }
        #[unsafe(no_mangle)]
        extern "C" fn $symbol64(x: f64, y: f64) -> f64 {
            libm::$libm64(x, y)
        }
    )* };
}

unary! {
    __raddle_rt_acosf, __raddle_rt_acos, acosf, acos;
    __raddle_rt_acoshf, __raddle_rt_acosh, acoshf, acosh;
    __raddle_rt_asinf, __raddle_rt_asin, asinf, asin;
    __raddle_rt_asinhf, __raddle_rt_asinh, asinhf, asinh;
    __raddle_rt_atanf, __raddle_rt_atan, atanf, atan;
    __raddle_rt_atanhf, __raddle_rt_atanh, atanhf, atanh;
    __raddle_rt_cbrtf, __raddle_rt_cbrt, cbrtf, cbrt;
    __raddle_rt_cosf, __raddle_rt_cos, cosf, cos;
    __raddle_rt_coshf, __raddle_rt_cosh, coshf, cosh;
    __raddle_rt_erff, __raddle_rt_erf, erff, erf;
    __raddle_rt_erfcf, __raddle_rt_erfc, erfcf, erfc;
    __raddle_rt_exp10f, __raddle_rt_exp10, exp10f, exp10;
    __raddle_rt_expm1f, __raddle_rt_expm1, expm1f, expm1;
    __raddle_rt_logf, __raddle_rt_log, logf, log;
    __raddle_rt_log10f, __raddle_rt_log10, log10f, log10;
    __raddle_rt_log1pf, __raddle_rt_log1p, log1pf, log1p;
    __raddle_rt_log2f, __raddle_rt_log2, log2f, log2;
    __raddle_rt_sinf, __raddle_rt_sin, sinf, sin;
    __raddle_rt_sinhf, __raddle_rt_sinh, sinhf, sinh;
    __raddle_rt_tanf, __raddle_rt_tan, tanf, tan;
    __raddle_rt_tanhf, __raddle_rt_tanh, tanhf, tanh;
    __raddle_rt_tgammaf, __raddle_rt_tgamma, tgammaf, tgamma;
}

binary! {
    __raddle_rt_powf, __raddle_rt_pow, powf, pow;
    __raddle_rt_atan2f, __raddle_rt_atan2, atan2f, atan2;
    __raddle_rt_hypotf, __raddle_rt_hypot, hypotf, hypot;
    __raddle_rt_fmodf, __raddle_rt_fmod, fmodf, fmod;
    __raddle_rt_fdimf, __raddle_rt_fdim, fdimf, fdim;
}

asm_intrinsic! {
    /// 2^x within 2 ulp of the mantissa. *Source*: PTX ISA, "ex2".
    fn ex2(x: f32) -> f32 = "raddle.asm:=f,f:ex2.approx.f32 $0, $1;";
    /// `a * b + c` with one rounding.
    fn fma(a: f32, b: f32, c: f32) -> f32 = "raddle.asm:=f,f,f,f:fma.rn.f32 $0, $1, $2, $3;";
    /// The integer part.
    fn truncate(x: f32) -> f32 = "raddle.asm:=f,f:cvt.rzi.f32.f32 $0, $1;";
}

/// `exp(x) = 2^t * 2^(x * log2(e) - t)` with `t` the integer part of `x * log2(e)`.
/// The reduced argument `x - t * ln 2` is formed with `ln 2` in two parts, so that
/// its error does not grow with `x`. Error: at most 3 ulp (2.32 seen over all normal
/// results on Hopper).
#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_expf(x: f32) -> f32 {
    const LOG2_E: f32 = core::f32::consts::LOG2_E;
    const LN_2_HIGH: f32 = 0.693_145_75;
    const LN_2_LOW: f32 = 1.428_606_8e-6;
    // Beyond these the result is 0 or infinity whatever the rest says, and `t`
    // stays in the range in which both factors are finite.
    let clamped = x.clamp(-104.0, 89.0);
    // SAFETY: plain arithmetic.
    unsafe {
        let t = truncate(clamped * LOG2_E);
        let reduced = fma(t, -LN_2_LOW, fma(t, -LN_2_HIGH, clamped));
        let result = ex2(t) * ex2(reduced * LOG2_E);
        if x.is_nan() { x } else { result }
    }
}

/// 2^x by the hardware's instruction. Error: at most 2 ulp.
#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_exp2f(x: f32) -> f32 {
    // SAFETY: plain arithmetic.
    unsafe { ex2(x) }
}

/// 2^x in double precision.
#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_exp2(x: f64) -> f64 {
    libm::exp2(x)
}

/// `exp` in double precision.
#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_exp(x: f64) -> f64 {
    libm::exp(x)
}

#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_ldexpf(x: f32, n: i32) -> f32 {
    libm::ldexpf(x, n)
}

#[unsafe(no_mangle)]
extern "C" fn __raddle_rt_ldexp(x: f64, n: i32) -> f64 {
    libm::ldexp(x, n)
}

macro_rules! powi {
    ($($symbol:ident, $float:ty;)*) => { $(
        /// Repeated squaring in the order of compiler-rt's `__powisf2`.
        #[unsafe(no_mangle)]
        extern "C" fn $symbol(base: $float, exponent: i32) -> $float {
            let mut square = base;
            let mut left = exponent.unsigned_abs();
            let mut product: $float = 1.0;
            loop {
                if left & 1 == 1 {
                    product *= square;
                }
                left >>= 1;
                if left == 0 {
                    break;
                }
                square *= square;
            }
            if exponent < 0 { 1.0 / product } else { product }
        }
    )* };
}

powi! {
    __raddle_rt_powif, f32;
    __raddle_rt_powi, f64;
}
