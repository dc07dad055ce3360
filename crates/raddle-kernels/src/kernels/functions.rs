//! Mathematics that kernels written at run time are made of.
//!
//! Each function stands in the PTX by itself, and what writes kernels copies its text to
//! where it is called (`dense/generated`), so that it has the same bits there as in
//! [`super::pointwise`].

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

macro_rules! functions {
    ($ty:ident, $module:ident, $kernel:ident, $erf:path;
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
                    None => $module::powf(x[index], y[index]),
                };
            }
        }
    };
}

macro_rules! of_both {
    ($($tokens:tt)*) => {
        functions! { f32, singles, functions_f32, libm::erff; $($tokens)* }
        functions! { f64, doubles, functions_f64, libm::erf; $($tokens)* }
    };
}

of_both! {
    Exp exp: |x| x.exp();
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
    Tanh tanh: |x| x.tanh();
    Asinh asinh: |x| x.asinh();
    Acosh acosh: |x| x.acosh();
    Atanh atanh: |x| x.atanh();
}
