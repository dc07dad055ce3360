//! [`bf16`]: the upper half of an `f32`, PTX `.bf16`.

use super::operators::impl_float16;
use super::round::{self, Format};

/// bfloat16: the range of `f32` with 7 mantissa bits.
///
/// Arithmetic is rounded once, to nearest even, on the host and on the device
/// alike; subnormals are kept.
///
/// *Source*: PTX ISA, "Alternate Floating-Point Data Formats" and `fma`;
/// `fma.rn.bf16` needs `sm_80`.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct bf16(u16);

const FORMAT: Format = round::BF16;

impl_float16!(bf16);

pub(super) mod ptx {
    intrinsics! {
            ROWS, "Half Precision Floating Point Instructions; cvt";
            fn from_f32(value: f32) -> u16 = "raddle.asm:=h,f:cvt.rn.bf16.f32 $0, $1;", sm 80, ptx 70;
            fn fma(a: u16, b: u16, c: u16) -> u16 = "raddle.asm:=h,h,h,h:fma.rn.bf16 $0, $1, $2, $3;", sm 80, ptx 70;
            fn min(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:min.bf16 $0, $1, $2;", sm 80, ptx 70;
            fn max(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:max.bf16 $0, $1, $2;", sm 80, ptx 70;
            fn sqrt_f32(value: f32) -> f32 = "raddle.asm:=f,f:sqrt.rn.f32 $0, $1;", sm 20, ptx 14;
    }
}

impl bf16 {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(0x3f80);
    /// Positive infinity.
    pub const INFINITY: Self = Self(0x7f80);
    /// Negative infinity.
    pub const NEG_INFINITY: Self = Self(0xff80);
    /// Largest finite value, about 3.39e38.
    pub const MAX: Self = Self(0x7f7f);
    /// Smallest finite value, about -3.39e38.
    pub const MIN: Self = Self(0xff7f);
    /// Smallest positive normal value, 2^-126.
    pub const MIN_POSITIVE: Self = Self(0x0080);
    /// Smallest positive value, 2^-133.
    pub const MIN_POSITIVE_SUBNORMAL: Self = Self(0x0001);
    /// Distance from 1 to the next larger value, 2^-7.
    pub const EPSILON: Self = Self(0x3c00);
    /// Significant bits, the implicit one included.
    pub const MANTISSA_DIGITS: u32 = 8;
    const NEG_ONE: Self = Self(0xbf80);

    /// The nearest value, ties to even, for use in constants.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        let sign = (value.to_bits() >> 48) as u16 & 0x8000;
        if value.is_nan() {
            return Self::NAN;
        }
        let magnitude = FORMAT.encode_magnitude(value);
        if magnitude > FORMAT.max_finite {
            return Self(sign | Self::INFINITY.0);
        }
        Self(sign | magnitude as u16)
    }

    /// The nearest value, ties to even. PTX `cvt.rn.bf16.f32`, `sm_80`.
    #[inline(always)]
    #[must_use]
    pub fn from_f32(value: f32) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: a conversion has no requirements.
        return Self(unsafe { ptx::from_f32(value) });
        #[cfg(not(raddle_device))]
        {
            let bits = value.to_bits();
            if value.is_nan() {
                return Self::NAN;
            }
            // Ties to even on the lower half; a carry may reach infinity.
            Self(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
        }
    }

    /// The nearest value, ties to even, rounded once.
    #[inline(always)]
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        Self::new(value)
    }

    /// The value as an `f32`, exactly: the bits move up, those of a NaN too.
    #[inline(always)]
    #[must_use]
    pub const fn to_f32(self) -> f32 {
        f32::from_bits((self.0 as u32) << 16)
    }

    /// The value as an `f64`, exactly.
    #[inline(always)]
    #[must_use]
    pub const fn to_f64(self) -> f64 {
        self.to_f32() as f64
    }

    /// `self * factor + addend` with one rounding. PTX `fma.rn.bf16`, `sm_80`.
    #[inline(always)]
    #[must_use]
    pub fn mul_add(self, factor: Self, addend: Self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self(unsafe { ptx::fma(self.0, factor.0, addend.0) });
        #[cfg(not(raddle_device))]
        Self::new(round::add_to_odd(self.to_f64() * factor.to_f64(), addend.to_f64()))
    }

    /// The square root, rounded once.
    #[inline(always)]
    #[must_use]
    pub fn sqrt(self) -> Self {
        // Rounding the f32 root once more is exact: 24 >= 2 * 8 + 2, and a root
        // is never subnormal.
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self::from_f32(unsafe { ptx::sqrt_f32(self.to_f32()) });
        #[cfg(not(raddle_device))]
        Self::from_f32(self.to_f32().sqrt())
    }

    /// `1 * a + b`: the portable target has no `add.bf16` but a fused
    /// multiply-add, whose one rounding makes this the sum.
    #[inline(always)]
    fn add_rn(self, other: Self) -> Self {
        self.mul_add(Self::ONE, other)
    }

    #[inline(always)]
    fn sub_rn(self, other: Self) -> Self {
        other.mul_add(Self::NEG_ONE, self)
    }

    /// `a * b + -0`: adding negative zero changes no product.
    #[inline(always)]
    fn mul_rn(self, other: Self) -> Self {
        self.mul_add(other, Self::NEG_ZERO)
    }

    /// A second rounding of the f32 quotient is exact: 24 >= 2 * 8 + 2, and where
    /// the quotient is subnormal, one that is no tie of bf16 lies at least 2^-143
    /// from the next tie, further than f32's rounding moves it (2^-150).
    #[inline(always)]
    fn div_rn(self, other: Self) -> Self {
        Self::from_f32(self.to_f32() / other.to_f32())
    }
}

impl From<u8> for bf16 {
    /// Exact.
    #[inline(always)]
    fn from(value: u8) -> Self {
        Self::from_f32(f32::from(value))
    }
}

impl From<i8> for bf16 {
    /// Exact.
    #[inline(always)]
    fn from(value: i8) -> Self {
        Self::from_f32(f32::from(value))
    }
}
