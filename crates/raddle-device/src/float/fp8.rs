//! The two 8-bit formats of the tensor cores, [`f8e4m3`] and [`f8e5m2`], and
//! their packed pairs.
//!
//! The portable target has no fp8 conversion, so the scalar conversions are the
//! same plain Rust on the host and on the device. The pairs have conversions by
//! one instruction for kernels that require `sm_89` or later.

use super::f16x2;
use super::round::{self, Format};
use crate::bits::AnyBits;
use crate::param::{DeviceType, Zeroable};

macro_rules! fp8 {
    (
        $(#[$doc:meta])* $ty:ident, $format:path, infinity: $infinity:expr,
        $(#[$pair_doc:meta])* $pair:ident, $from_f32:literal, $from_f16:literal, $to_f16:literal, $ptx:ident
    ) => {
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Default)]
        #[repr(transparent)]
        pub struct $ty(u8);

        // SAFETY: `repr(transparent)` over `u8`, any bit pattern is a number.
        unsafe impl DeviceType for $ty {}
        // SAFETY: zero bits are the number zero.
        unsafe impl Zeroable for $ty {}
        // SAFETY: no padding, and any bits are a value.
        unsafe impl AnyBits for $ty {}

        impl $ty {
            /// Zero.
            pub const ZERO: Self = Self(0);
            /// One.
            pub const ONE: Self = Self::new(1.0);
            /// Largest finite value.
            pub const MAX: Self = Self($format.max_finite as u8);
            /// Smallest finite value.
            pub const MIN: Self = Self($format.max_finite as u8 | 0x80);
            /// Smallest positive value.
            pub const MIN_POSITIVE_SUBNORMAL: Self = Self(1);
            /// The canonical NaN of PTX.
            pub const NAN: Self = Self(0x7f);
            const INFINITY: Option<u8> = $infinity;

            /// Reinterprets 8 bits as a number.
            #[inline(always)]
            #[must_use]
            pub const fn from_bits(bits: u8) -> Self {
                Self(bits)
            }

            /// The number's 8 bits.
            #[inline(always)]
            #[must_use]
            pub const fn to_bits(self) -> u8 {
                self.0
            }

            /// The nearest value, ties to even, for use in constants. Values
            /// beyond the range, infinities included, become the largest finite
            /// value; a NaN becomes [`Self::NAN`]: PTX `cvt.rn.satfinite`.
            #[must_use]
            pub const fn new(value: f64) -> Self {
                if value.is_nan() {
                    return Self::NAN;
                }
                let sign = if value.is_sign_negative() { 0x80 } else { 0 };
                let magnitude = encode_saturating($format, value);
                Self(sign | magnitude)
            }

            /// The nearest value, ties to even, saturating like [`Self::new`].
            #[inline]
            #[must_use]
            pub fn from_f32(value: f32) -> Self {
                Self::new(value as f64)
            }

            /// The value as an `f32`, exactly.
            #[inline]
            #[must_use]
            pub const fn to_f32(self) -> f32 {
                let magnitude = self.0 & 0x7f;
                let value = if magnitude as u32 <= $format.max_finite {
                    $format.decode_magnitude(magnitude as u32) as f32
                } else if let Some(infinity) = Self::INFINITY && magnitude == infinity {
                    f32::INFINITY
                } else {
                    return f32::NAN;
                };
                if self.0 & 0x80 != 0 { -value } else { value }
            }

            /// Whether the value is a NaN.
            #[inline]
            #[must_use]
            pub const fn is_nan(self) -> bool {
                let magnitude = self.0 & 0x7f;
                magnitude as u32 > $format.max_finite
                    && !matches!(Self::INFINITY, Some(infinity) if magnitude == infinity)
            }
        }

        impl super::Float for $ty {
            const ZERO: Self = $ty::ZERO;
            const ONE: Self = $ty::ONE;
            #[inline(always)]
            fn from_f32(value: f32) -> Self {
                $ty::from_f32(value)
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $ty::to_f32(self)
            }
        }

        impl core::ops::Neg for $ty {
            type Output = Self;
            /// Flips the sign bit.
            #[inline(always)]
            fn neg(self) -> Self {
                Self(self.0 ^ 0x80)
            }
        }

        impl PartialEq for $ty {
            #[inline]
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $ty {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
        }

        impl core::fmt::Display for $ty {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(&self.to_f32(), f)
            }
        }

        impl core::fmt::Debug for $ty {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Debug::fmt(&self.to_f32(), f)
            }
        }

        impl From<$ty> for f32 {
            #[inline(always)]
            fn from(value: $ty) -> f32 {
                value.to_f32()
            }
        }

        $(#[$pair_doc])*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Default, Debug, PartialEq)]
        #[repr(C, align(2))]
        pub struct $pair {
            /// The element at the lower address.
            pub lo: $ty,
            /// The element at the higher address.
            pub hi: $ty,
        }

        // SAFETY: two bytes in order, no padding.
        unsafe impl DeviceType for $pair {}
        // SAFETY: both halves are zeroable.
        unsafe impl Zeroable for $pair {}
        // SAFETY: no padding, and any bits are a value.
        unsafe impl AnyBits for $pair {}

        pub(super) mod $ptx {
            intrinsics! {
        ROWS, "cvt";
                fn from_f32(hi: f32, lo: f32) -> u16 = $from_f32, sm 89, ptx 81;
                fn from_f16x2(halves: u32) -> u16 = $from_f16, sm 89, ptx 81;
                fn to_f16x2(pair: u16) -> u32 = $to_f16, sm 89, ptx 81;
}
        }

        impl $pair {
            /// The two elements in memory order.
            #[inline(always)]
            #[must_use]
            pub const fn new(lo: $ty, hi: $ty) -> Self {
                Self { lo, hi }
            }

            /// The pair's 16 bits, `lo` in the lower half.
            #[inline(always)]
            #[must_use]
            pub const fn to_bits(self) -> u16 {
                self.lo.0 as u16 | (self.hi.0 as u16) << 8
            }

            /// Reinterprets 16 bits, `lo` in the lower half.
            #[inline(always)]
            #[must_use]
            pub const fn from_bits(bits: u16) -> Self {
                Self { lo: $ty(bits as u8), hi: $ty((bits >> 8) as u8) }
            }

            /// Two conversions by one instruction, rounded and saturated as the
            /// scalar ones are. *Source*: PTX ISA, "cvt", `sm_89`.
            ///
            /// # Safety
            ///
            /// The kernel requires compute capability 8.9 or later; for an older
            /// target its PTX does not assemble.
            #[inline(always)]
            #[must_use]
            pub unsafe fn from_f32_native(lo: f32, hi: f32) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: the caller's target has the instruction.
                return Self::from_bits(unsafe { $ptx::from_f32(hi, lo) });
                #[cfg(not(raddle_device))]
                Self::new($ty::from_f32(lo), $ty::from_f32(hi))
            }

            /// Two conversions from half precision by one instruction.
            /// *Source*: PTX ISA, "cvt", `sm_89`.
            ///
            /// # Safety
            ///
            /// As for [`Self::from_f32_native`].
            #[inline(always)]
            #[must_use]
            pub unsafe fn from_f16x2_native(halves: f16x2) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: the caller's target has the instruction.
                return Self::from_bits(unsafe { $ptx::from_f16x2(halves.to_bits()) });
                #[cfg(not(raddle_device))]
                Self::new($ty::from_f32(halves.lo().to_f32()), $ty::from_f32(halves.hi().to_f32()))
            }

            /// Two exact conversions to half precision by one instruction.
            /// *Source*: PTX ISA, "cvt", `sm_89`.
            ///
            /// # Safety
            ///
            /// As for [`Self::from_f32_native`].
            #[inline(always)]
            #[must_use]
            pub unsafe fn to_f16x2_native(self) -> f16x2 {
                #[cfg(raddle_device)]
                // SAFETY: the caller's target has the instruction.
                return f16x2::from_bits(unsafe { $ptx::to_f16x2(self.to_bits()) });
                #[cfg(not(raddle_device))]
                f16x2::from_f32s(self.lo.to_f32(), self.hi.to_f32())
            }
        }
    };
}

fp8! {
    /// OCP 8-bit float with 4 exponent and 3 mantissa bits: up to 448, no
    /// infinities, one NaN magnitude.
    ///
    /// *Source*: PTX ISA, "Alternate Floating-Point Data Formats", `.e4m3`.
    f8e4m3, round::E4M3, infinity: None,
    /// Two [`f8e4m3`], PTX `.e4m3x2`.
    f8e4m3x2,
    "raddle.asm:=h,f,f:cvt.rn.satfinite.e4m3x2.f32 $0, $1, $2;",
    "raddle.asm:=h,r:cvt.rn.satfinite.e4m3x2.f16x2 $0, $1;",
    "raddle.asm:=r,h:cvt.rn.f16x2.e4m3x2 $0, $1;", e4m3_ptx
}

fp8! {
    /// OCP 8-bit float with 5 exponent and 2 mantissa bits: up to 57344, with
    /// infinities.
    ///
    /// *Source*: PTX ISA, "Alternate Floating-Point Data Formats", `.e5m2`.
    f8e5m2, round::E5M2, infinity: Some(0x7c),
    /// Two [`f8e5m2`], PTX `.e5m2x2`.
    f8e5m2x2,
    "raddle.asm:=h,f,f:cvt.rn.satfinite.e5m2x2.f32 $0, $1, $2;",
    "raddle.asm:=h,r:cvt.rn.satfinite.e5m2x2.f16x2 $0, $1;",
    "raddle.asm:=r,h:cvt.rn.f16x2.e5m2x2 $0, $1;", e5m2_ptx
}

const fn encode_saturating(format: Format, value: f64) -> u8 {
    let magnitude = format.encode_magnitude(value);
    if magnitude > format.max_finite { format.max_finite as u8 } else { magnitude as u8 }
}
