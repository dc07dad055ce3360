//! Packed pairs [`f16x2`] and [`bf16x2`]: two 16-bit floats in one register,
//! with arithmetic on both at once.

use super::{bf16, f16};
use crate::bits::AnyBits;
use crate::param::{DeviceType, Zeroable};

macro_rules! pair {
    (
        $(#[$doc:meta])* $pair:ident, $half:ident, $ptx:ident,
        from_f32: $from_f32:literal, to_f32: $to_f32:literal, fma: $fma:literal, min: $min:literal, max: $max:literal, maximum: $maximum:literal,
    ) => {
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Default)]
        #[repr(transparent)]
        pub struct $pair(u32);

        // SAFETY: `repr(transparent)` over `u32`, any bit pattern is a pair.
        unsafe impl DeviceType for $pair {}
        // SAFETY: zero bits are two zeros.
        unsafe impl Zeroable for $pair {}
        // SAFETY: no padding, and any bits are a value.
        unsafe impl AnyBits for $pair {}

        pub(super) mod $ptx {
            intrinsics! {
        ROWS, "Half Precision Floating Point Instructions; cvt";
                fn from_f32s(hi: f32, lo: f32) -> u32 = $from_f32, sm 80, ptx 70;
                fn to_f32s(lo: *mut f32, hi: *mut f32, pair: u32) = $to_f32, sm 80, ptx 70;
                fn fma(a: u32, b: u32, c: u32) -> u32 = $fma, sm 80, ptx 70;
                fn min(a: u32, b: u32) -> u32 = $min, sm 80, ptx 70;
                fn max(a: u32, b: u32) -> u32 = $max, sm 80, ptx 70;
                fn maximum(a: u32, b: u32) -> u32 = $maximum, sm 80, ptx 70;
}
        }

        impl $pair {
            /// Two zeros.
            pub const ZERO: Self = Self(0);

            /// A pair; `lo` lies at the lower address.
            #[inline(always)]
            #[must_use]
            pub const fn new(lo: $half, hi: $half) -> Self {
                Self(lo.to_bits() as u32 | (hi.to_bits() as u32) << 16)
            }

            /// The same number twice.
            #[inline(always)]
            #[must_use]
            pub const fn splat(both: $half) -> Self {
                Self::new(both, both)
            }

            /// Two rounded conversions by one instruction. PTX `cvt.rn` to a
            /// packed format, `sm_80`.
            #[inline(always)]
            #[must_use]
            pub fn from_f32s(lo: f32, hi: f32) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: a conversion has no requirements.
                return Self(unsafe { $ptx::from_f32s(hi, lo) });
                #[cfg(not(raddle_device))]
                Self::new($half::from_f32(lo), $half::from_f32(hi))
            }

            /// Reinterprets 32 bits, `lo` in the lower half.
            #[inline(always)]
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self(bits)
            }

            /// The pair's 32 bits, `lo` in the lower half.
            #[inline(always)]
            #[must_use]
            pub const fn to_bits(self) -> u32 {
                self.0
            }

            /// The element at the lower address.
            #[inline(always)]
            #[must_use]
            pub const fn lo(self) -> $half {
                $half::from_bits(self.0 as u16)
            }

            /// The element at the higher address.
            #[inline(always)]
            #[must_use]
            pub const fn hi(self) -> $half {
                $half::from_bits((self.0 >> 16) as u16)
            }

            /// Both elements as `f32`, exactly, in memory order.
            #[inline(always)]
            #[must_use]
            pub fn to_f32s(self) -> [f32; 2] {
                #[cfg(raddle_device)]
                {
                    let (mut lo, mut hi) = (0.0, 0.0);
                    // SAFETY: a conversion has no requirements.
                    unsafe { $ptx::to_f32s(&raw mut lo, &raw mut hi, self.0) };
                    [lo, hi]
                }
                #[cfg(not(raddle_device))]
                [self.lo().to_f32(), self.hi().to_f32()]
            }

            /// The elements in exchanged places.
            #[inline(always)]
            #[must_use]
            pub const fn swap(self) -> Self {
                Self(self.0.rotate_left(16))
            }

            /// `self * factor + addend` in both elements, each rounded once.
            #[inline(always)]
            #[must_use]
            pub fn mul_add(self, factor: Self, addend: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { $ptx::fma(self.0, factor.0, addend.0) });
                #[cfg(not(raddle_device))]
                Self::new(
                    self.lo().mul_add(factor.lo(), addend.lo()),
                    self.hi().mul_add(factor.hi(), addend.hi()),
                )
            }

            /// The smaller values, as the scalar `min`.
            #[inline(always)]
            #[must_use]
            pub fn min(self, other: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { $ptx::min(self.0, other.0) });
                #[cfg(not(raddle_device))]
                Self::new(self.lo().min(other.lo()), self.hi().min(other.hi()))
            }

            /// The larger values, as the scalar `max`.
            #[inline(always)]
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { $ptx::max(self.0, other.0) });
                #[cfg(not(raddle_device))]
                Self::new(self.lo().max(other.lo()), self.hi().max(other.hi()))
            }

            /// The larger values, or a NaN where there is one: PTX `max.NaN`, `sm_80`.
            #[inline(always)]
            #[must_use]
            pub fn maximum(self, other: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { $ptx::maximum(self.0, other.0) });
                #[cfg(not(raddle_device))]
                {
                    let larger = |a: $half, b: $half| match a.is_nan() || b.is_nan() {
                        true => $half::NAN,
                        false => a.max(b),
                    };
                    Self::new(larger(self.lo(), other.lo()), larger(self.hi(), other.hi()))
                }
            }

            /// Both values without their signs.
            #[inline(always)]
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0 & 0x7fff_7fff)
            }
        }

        impl core::ops::Neg for $pair {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                Self(self.0 ^ 0x8000_8000)
            }
        }

        impl core::ops::Add for $pair {
            type Output = Self;
            /// `a * 1 + b`: one instruction on every target, rounded once.
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self.mul_add(Self::splat($half::ONE), other)
            }
        }

        impl core::ops::Sub for $pair {
            type Output = Self;
            /// `b * -1 + a`, rounded once.
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                other.mul_add(-Self::splat($half::ONE), self)
            }
        }

        impl core::ops::Mul for $pair {
            type Output = Self;
            /// `a * b + -0`, rounded once.
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self.mul_add(other, Self::splat($half::NEG_ZERO))
            }
        }

        impl core::ops::AddAssign for $pair {
            #[inline(always)]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl core::ops::MulAssign for $pair {
            #[inline(always)]
            fn mul_assign(&mut self, other: Self) {
                *self = *self * other;
            }
        }

        impl PartialEq for $pair {
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool {
                self.lo() == other.lo() && self.hi() == other.hi()
            }
        }

        impl From<[$half; 2]> for $pair {
            #[inline(always)]
            fn from([lo, hi]: [$half; 2]) -> Self {
                Self::new(lo, hi)
            }
        }

        impl From<$pair> for [$half; 2] {
            #[inline(always)]
            fn from(pair: $pair) -> Self {
                [pair.lo(), pair.hi()]
            }
        }

        impl core::fmt::Debug for $pair {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "({:?}, {:?})", self.lo(), self.hi())
            }
        }
    };
}

pair! {
    /// Two `f16`, PTX `.f16x2`.
    ///
    /// *Source*: PTX ISA, "Half Precision Floating Point Instructions"; `min`, `max`
    /// and the packed conversion need `sm_80`.
    f16x2, f16, f16_ptx,
    from_f32: "raddle.asm:=r,f,f:cvt.rn.f16x2.f32 $0, $1, $2;",
    to_f32: "raddle.asm:=f,=f,r:{ .reg .b16 lo, hi; mov.b32 {lo, hi}, $2; cvt.f32.f16 $0, lo; cvt.f32.f16 $1, hi; }",
    fma: "raddle.asm:=r,r,r,r:fma.rn.f16x2 $0, $1, $2, $3;",
    min: "raddle.asm:=r,r,r:min.f16x2 $0, $1, $2;",
    max: "raddle.asm:=r,r,r:max.f16x2 $0, $1, $2;",
    maximum: "raddle.asm:=r,r,r:max.NaN.f16x2 $0, $1, $2;",
}

pair! {
    /// Two [`bf16`], PTX `.bf16x2`.
    ///
    /// *Source*: PTX ISA, "Half Precision Floating Point Instructions", `sm_80`.
    bf16x2, bf16, bf16_ptx,
    from_f32: "raddle.asm:=r,f,f:cvt.rn.bf16x2.f32 $0, $1, $2;",
    to_f32: "raddle.asm:=f,=f,r:{ .reg .b32 lo, hi; shl.b32 lo, $2, 16; and.b32 hi, $2, 0xffff0000; mov.b32 $0, lo; mov.b32 $1, hi; }",
    fma: "raddle.asm:=r,r,r,r:fma.rn.bf16x2 $0, $1, $2, $3;",
    min: "raddle.asm:=r,r,r:min.bf16x2 $0, $1, $2;",
    max: "raddle.asm:=r,r,r:max.bf16x2 $0, $1, $2;",
    maximum: "raddle.asm:=r,r,r:max.NaN.bf16x2 $0, $1, $2;",
}
