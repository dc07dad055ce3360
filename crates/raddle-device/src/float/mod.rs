//! Numbers narrower than `f32`: `f16`, [`bf16`], [`tf32`], the two fp8
//! formats, and packed pairs.
//!
//! Invariant: every operation gives the same bits on the host and on the
//! device, NaNs included. Each operation is rounded once, to nearest even, as
//! IEEE 754 asks; the device bodies name `.rn` so that no multiplication is
//! contracted with a following addition, and a NaN result is PTX's canonical NaN
//! (all bits below the sign set).
//!
//! *Source*: PTX ISA, "Half Precision Floating Point Instructions",
//! "Alternate Floating-Point Data Formats", and "cvt".

mod bfloat16;
mod binary16;
mod fp8;
mod operators;
mod pair;
pub(crate) mod round;
mod tensor_float;

#[cfg(all(test, not(raddle_device)))]
mod tests;

pub use bfloat16::bf16;
pub use binary16::f16;
pub use fp8::{f8e4m3, f8e4m3x2, f8e5m2, f8e5m2x2};
pub use pair::{bf16x2, f16x2};
pub use tensor_float::tf32;

#[cfg(not(raddle_device))]
pub(crate) use {
    bfloat16::ptx::ROWS as BF16_ROWS, binary16::ptx::ROWS as F16_ROWS,
    fp8::e4m3_ptx::ROWS as E4M3_ROWS, fp8::e5m2_ptx::ROWS as E5M2_ROWS,
    pair::bf16_ptx::ROWS as BF16X2_ROWS, pair::f16_ptx::ROWS as F16X2_ROWS,
    tensor_float::ptx::ROWS as TF32_ROWS,
};

use crate::param::Zeroable;

/// A floating-point format that converts from and to `f32`, so that a kernel can
/// be generic over how its numbers are stored.
pub trait Float: Zeroable + PartialOrd + core::fmt::Debug {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The nearest representable value, ties to even. fp8 formats saturate at
    /// their largest finite value.
    #[must_use]
    fn from_f32(value: f32) -> Self;
    /// The value as an `f32`; exact except from `f64`.
    #[must_use]
    fn to_f32(self) -> f32;
}

impl Float for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        value
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Float for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        f64::from(value)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self as f32
    }
}
