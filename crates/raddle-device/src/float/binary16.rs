//! `f16`: IEEE 754 binary16, PTX `.f16`.

use super::operators::impl_float16;
use super::round::{self, Format};

/// IEEE 754 binary16: 1 sign, 5 exponent and 10 mantissa bits.
///
/// Arithmetic is rounded once, to nearest even, on the host and on the device
/// alike; subnormals are kept.
///
/// *Source*: PTX ISA, "Half Precision Floating Point Instructions", `sm_53`.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct f16(u16);

const FORMAT: Format = round::F16;

impl_float16!(f16);

pub(super) mod ptx {
    intrinsics! {
            ROWS, "Half Precision Floating Point Instructions; cvt";
            fn from_f32(value: f32) -> u16 = "raddle.asm:=h,f:cvt.rn.f16.f32 $0, $1;", sm 53, ptx 42;
            fn from_f64(value: f64) -> u16 = "raddle.asm:=h,d:cvt.rn.f16.f64 $0, $1;", sm 53, ptx 42;
            fn to_f32(bits: u16) -> f32 = "raddle.asm:=f,h:cvt.f32.f16 $0, $1;", sm 53, ptx 42;
            fn to_f64(bits: u16) -> f64 = "raddle.asm:=d,h:cvt.f64.f16 $0, $1;", sm 53, ptx 42;
            fn add(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:add.rn.f16 $0, $1, $2;", sm 53, ptx 42;
            fn sub(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:sub.rn.f16 $0, $1, $2;", sm 53, ptx 42;
            fn mul(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:mul.rn.f16 $0, $1, $2;", sm 53, ptx 42;
            fn fma(a: u16, b: u16, c: u16) -> u16 = "raddle.asm:=h,h,h,h:fma.rn.f16 $0, $1, $2, $3;", sm 53, ptx 42;
            fn min(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:min.f16 $0, $1, $2;", sm 80, ptx 70;
            fn max(a: u16, b: u16) -> u16 = "raddle.asm:=h,h,h:max.f16 $0, $1, $2;", sm 80, ptx 70;
            fn sqrt_f32(value: f32) -> f32 = "raddle.asm:=f,f:sqrt.rn.f32 $0, $1;", sm 53, ptx 42;
    }
}

impl f16 {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// One.
    pub const ONE: Self = Self(0x3c00);
    /// Positive infinity.
    pub const INFINITY: Self = Self(0x7c00);
    /// Negative infinity.
    pub const NEG_INFINITY: Self = Self(0xfc00);
    /// Largest finite value, 65504.
    pub const MAX: Self = Self(0x7bff);
    /// Smallest finite value, -65504.
    pub const MIN: Self = Self(0xfbff);
    /// Smallest positive normal value, 2^-14.
    pub const MIN_POSITIVE: Self = Self(0x0400);
    /// Smallest positive value, 2^-24.
    pub const MIN_POSITIVE_SUBNORMAL: Self = Self(0x0001);
    /// Distance from 1 to the next larger value, 2^-10.
    pub const EPSILON: Self = Self(0x1400);
    /// Significant bits, the implicit one included.
    pub const MANTISSA_DIGITS: u32 = 11;

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

    /// The nearest value, ties to even; values that round above 65504 become
    /// infinite. PTX `cvt.rn.f16.f32`.
    #[inline(always)]
    #[must_use]
    pub fn from_f32(value: f32) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: a conversion has no requirements.
        return Self(unsafe { ptx::from_f32(value) });
        #[cfg(not(raddle_device))]
        Self::new(f64::from(value))
    }

    /// The nearest value, ties to even, rounded once. PTX `cvt.rn.f16.f64`.
    #[inline(always)]
    #[must_use]
    pub fn from_f64(value: f64) -> Self {
        // The instruction keeps the payload of a NaN.
        #[cfg(raddle_device)]
        if value.is_nan() {
            return Self::NAN;
        }
        #[cfg(raddle_device)]
        // SAFETY: a conversion has no requirements.
        return Self(unsafe { ptx::from_f64(value) });
        #[cfg(not(raddle_device))]
        Self::new(value)
    }

    /// The value as an `f32`, exactly. PTX `cvt.f32.f16`.
    #[inline(always)]
    #[must_use]
    pub fn to_f32(self) -> f32 {
        #[cfg(raddle_device)]
        // SAFETY: a conversion has no requirements.
        return unsafe { ptx::to_f32(self.0) };
        #[cfg(not(raddle_device))]
        if self.is_nan() { f32::from_bits(0x7fff_ffff) } else { self.value() as f32 }
    }

    /// The value as an `f64`, exactly. PTX `cvt.f64.f16`.
    #[inline(always)]
    #[must_use]
    pub fn to_f64(self) -> f64 {
        // The instruction keeps the payload of a NaN.
        #[cfg(raddle_device)]
        if self.is_nan() {
            return f64::NAN;
        }
        #[cfg(raddle_device)]
        // SAFETY: a conversion has no requirements.
        return unsafe { ptx::to_f64(self.0) };
        #[cfg(not(raddle_device))]
        self.value()
    }

    /// `self * factor + addend` with one rounding. PTX `fma.rn.f16`.
    #[inline(always)]
    #[must_use]
    pub fn mul_add(self, factor: Self, addend: Self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self(unsafe { ptx::fma(self.0, factor.0, addend.0) });
        #[cfg(not(raddle_device))]
        Self::new(round::add_to_odd(self.value() * factor.value(), addend.value()))
    }

    /// The square root, rounded once.
    #[inline(always)]
    #[must_use]
    pub fn sqrt(self) -> Self {
        // Rounding the f32 root once more is exact: 24 >= 2 * 11 + 2.
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self::from_f32(unsafe { ptx::sqrt_f32(self.to_f32()) });
        #[cfg(not(raddle_device))]
        Self::from_f32(self.to_f32().sqrt())
    }

    #[inline(always)]
    fn add_rn(self, other: Self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self(unsafe { ptx::add(self.0, other.0) });
        #[cfg(not(raddle_device))]
        Self::new(self.value() + other.value())
    }

    #[inline(always)]
    fn sub_rn(self, other: Self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self(unsafe { ptx::sub(self.0, other.0) });
        #[cfg(not(raddle_device))]
        Self::new(self.value() - other.value())
    }

    #[inline(always)]
    fn mul_rn(self, other: Self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: arithmetic has no requirements.
        return Self(unsafe { ptx::mul(self.0, other.0) });
        #[cfg(not(raddle_device))]
        Self::new(self.value() * other.value())
    }

    /// A second rounding of the f32 quotient is exact: 24 >= 2 * 11 + 2, and a
    /// quotient near a subnormal tie is further from it than f32's last bit.
    #[inline(always)]
    fn div_rn(self, other: Self) -> Self {
        Self::from_f32(self.to_f32() / other.to_f32())
    }

    #[cfg(not(raddle_device))]
    #[inline]
    fn value(self) -> f64 {
        let magnitude = if self.is_nan() {
            return f64::NAN;
        } else if self.is_infinite() {
            f64::INFINITY
        } else {
            FORMAT.decode_magnitude(u32::from(self.0 & 0x7fff))
        };
        if self.is_sign_negative() { -magnitude } else { magnitude }
    }
}

impl From<u8> for f16 {
    /// Exact.
    #[inline(always)]
    fn from(value: u8) -> Self {
        Self::from_f32(f32::from(value))
    }
}

impl From<i8> for f16 {
    /// Exact.
    #[inline(always)]
    fn from(value: i8) -> Self {
        Self::from_f32(f32::from(value))
    }
}
