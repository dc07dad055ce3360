//! What `f16`(super::f16) and [`bf16`](super::bf16) share: operators,
//! comparison, formatting and conversions to the other number types.

/// Implements the traits of a 16-bit float that has `from_bits`, `to_bits`,
/// `from_f32`, `from_f64`, `to_f32`, `to_f64`, `add_rn`, `sub_rn`, `mul_rn`,
/// `div_rn`, beside a constant `FORMAT` and on the device `ptx::min` and `max`.
macro_rules! impl_float16 {
    ($ty:ident) => {
        // SAFETY: `repr(transparent)` over `u16`, any bit pattern is a number.
        unsafe impl $crate::param::DeviceType for $ty {}
        // SAFETY: zero bits are the number zero.
        unsafe impl $crate::param::Zeroable for $ty {}
        // SAFETY: no padding, and any bits are a value.
        unsafe impl $crate::bits::AnyBits for $ty {}

        impl $crate::float::Float for $ty {
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

        impl $ty {
            /// Negative zero.
            pub const NEG_ZERO: Self = Self(0x8000);
            /// The canonical NaN of PTX: every bit below the sign is set.
            pub const NAN: Self = Self(0x7fff);

            /// Reinterprets 16 bits as a number.
            #[inline(always)]
            #[must_use]
            pub const fn from_bits(bits: u16) -> Self {
                Self(bits)
            }

            /// The number's 16 bits.
            #[inline(always)]
            #[must_use]
            pub const fn to_bits(self) -> u16 {
                self.0
            }

            /// Whether the value is a NaN.
            #[inline(always)]
            #[must_use]
            pub const fn is_nan(self) -> bool {
                self.0 & 0x7fff > Self::INFINITY.0
            }

            /// Whether the value is positive or negative infinity.
            #[inline(always)]
            #[must_use]
            pub const fn is_infinite(self) -> bool {
                self.0 & 0x7fff == Self::INFINITY.0
            }

            /// Whether the value is neither infinite nor a NaN.
            #[inline(always)]
            #[must_use]
            pub const fn is_finite(self) -> bool {
                self.0 & 0x7fff < Self::INFINITY.0
            }

            /// Whether the sign bit is set, that of a NaN included.
            #[inline(always)]
            #[must_use]
            pub const fn is_sign_negative(self) -> bool {
                self.0 & 0x8000 != 0
            }

            /// The value without its sign.
            #[inline(always)]
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0 & 0x7fff)
            }

            /// The magnitude of `self` with the sign of `sign`.
            #[inline(always)]
            #[must_use]
            pub const fn copysign(self, sign: Self) -> Self {
                Self(self.0 & 0x7fff | sign.0 & 0x8000)
            }

            /// The smaller value; `-0` is below `+0`, and a NaN loses against a
            /// number. PTX `min`, `sm_80`.
            #[inline(always)]
            #[must_use]
            pub fn min(self, other: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { ptx::min(self.0, other.0) });
                #[cfg(not(raddle_device))]
                match (self.is_nan(), other.is_nan()) {
                    (true, true) => Self::NAN,
                    (true, false) => other,
                    (false, true) => self,
                    (false, false) if self.order_key() <= other.order_key() => self,
                    (false, false) => other,
                }
            }

            /// The larger value; `-0` is below `+0`, and a NaN loses against a
            /// number. PTX `max`, `sm_80`.
            #[inline(always)]
            #[must_use]
            pub fn max(self, other: Self) -> Self {
                #[cfg(raddle_device)]
                // SAFETY: arithmetic has no requirements.
                return Self(unsafe { ptx::max(self.0, other.0) });
                #[cfg(not(raddle_device))]
                match (self.is_nan(), other.is_nan()) {
                    (true, true) => Self::NAN,
                    (true, false) => other,
                    (false, true) => self,
                    (false, false) if self.order_key() >= other.order_key() => self,
                    (false, false) => other,
                }
            }

            /// The order of IEEE 754's `totalOrder`.
            #[inline]
            #[must_use]
            pub const fn total_cmp(&self, other: &Self) -> core::cmp::Ordering {
                let (a, b) = (self.order_key(), other.order_key());
                if a < b {
                    core::cmp::Ordering::Less
                } else if a > b {
                    core::cmp::Ordering::Greater
                } else {
                    core::cmp::Ordering::Equal
                }
            }

            /// The exact remainder of the truncated division, with the sign of
            /// `self`, as `fmod`.
            #[inline]
            fn remainder(self, divisor: Self) -> Self {
                if self.is_nan() || self.is_infinite() || divisor.is_nan() || divisor.abs().0 == 0 {
                    return Self::NAN;
                }
                if divisor.is_infinite() {
                    return self;
                }
                let (a, b) = (u32::from(self.abs().0), u32::from(divisor.abs().0));
                Self(FORMAT.remainder(a, b) as u16 | self.0 & 0x8000)
            }

            /// Maps the bits to integers in the order of the numbers.
            #[inline(always)]
            const fn order_key(self) -> i32 {
                let bits = self.0 as i16 as i32;
                if bits < 0 { bits ^ 0x7fff } else { bits }
            }
        }

        impl core::ops::Neg for $ty {
            type Output = Self;
            /// Flips the sign bit, that of a NaN included.
            #[inline(always)]
            fn neg(self) -> Self {
                Self(self.0 ^ 0x8000)
            }
        }

        $crate::float::operators::impl_binary!($ty, Add, add, AddAssign, add_assign, |a, b| a.add_rn(b));
        $crate::float::operators::impl_binary!($ty, Sub, sub, SubAssign, sub_assign, |a, b| a.sub_rn(b));
        $crate::float::operators::impl_binary!($ty, Mul, mul, MulAssign, mul_assign, |a, b| a.mul_rn(b));
        $crate::float::operators::impl_binary!($ty, Div, div, DivAssign, div_assign, |a, b| a.div_rn(b));
        $crate::float::operators::impl_binary!($ty, Rem, rem, RemAssign, rem_assign, |a, b| {
            a.remainder(b)
        });

        impl PartialEq for $ty {
            #[inline(always)]
            fn eq(&self, other: &Self) -> bool {
                self.to_f32() == other.to_f32()
            }
        }

        impl PartialOrd for $ty {
            #[inline(always)]
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                self.to_f32().partial_cmp(&other.to_f32())
            }
            #[inline(always)]
            fn lt(&self, other: &Self) -> bool {
                self.to_f32() < other.to_f32()
            }
            #[inline(always)]
            fn le(&self, other: &Self) -> bool {
                self.to_f32() <= other.to_f32()
            }
            #[inline(always)]
            fn gt(&self, other: &Self) -> bool {
                self.to_f32() > other.to_f32()
            }
            #[inline(always)]
            fn ge(&self, other: &Self) -> bool {
                self.to_f32() >= other.to_f32()
            }
        }

        impl core::iter::Sum for $ty {
            /// Adds in order, each sum rounded; accumulate in `f32` where that
            /// loses too much.
            #[inline]
            fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self::ZERO, |sum, value| sum + value)
            }
        }

        impl<'a> core::iter::Sum<&'a $ty> for $ty {
            #[inline]
            fn sum<I: Iterator<Item = &'a Self>>(values: I) -> Self {
                values.copied().sum()
            }
        }

        impl core::iter::Product for $ty {
            /// Multiplies in order, each product rounded.
            #[inline]
            fn product<I: Iterator<Item = Self>>(values: I) -> Self {
                values.fold(Self::ONE, |product, value| product * value)
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

        impl core::str::FromStr for $ty {
            type Err = core::num::ParseFloatError;
            /// Parses as `f64` does and rounds the result once more.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse::<f64>().map($ty::from_f64)
            }
        }

        impl From<$ty> for f32 {
            #[inline(always)]
            fn from(value: $ty) -> f32 {
                value.to_f32()
            }
        }

        impl From<$ty> for f64 {
            #[inline(always)]
            fn from(value: $ty) -> f64 {
                value.to_f64()
            }
        }

        $crate::float::operators::impl_integers!($ty: i8 to_i8, u8 to_u8, i16 to_i16, u16 to_u16,
            i32 to_i32, u32 to_u32, i64 to_i64, u64 to_u64);
    };
}

macro_rules! impl_binary {
    ($ty:ident, $trait:ident, $method:ident, $assign_trait:ident, $assign:ident, |$a:ident, $b:ident| $body:expr) => {
        impl core::ops::$trait for $ty {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let ($a, $b) = (self, other);
                $body
            }
        }
        impl core::ops::$assign_trait for $ty {
            #[inline(always)]
            fn $assign(&mut self, other: Self) {
                *self = core::ops::$trait::$method(*self, other);
            }
        }
    };
}

macro_rules! impl_integers {
    ($ty:ident: $($int:ident $to:ident),*) => { $(
        impl $ty {
            #[doc = concat!("The value cut to an integer like `as ", stringify!($int),
                "`: towards zero, out-of-range values saturate, a NaN gives 0.")]
            #[inline(always)]
            #[must_use]
            pub fn $to(self) -> $int {
                self.to_f32() as $int
            }
        }
    )* };
}

pub(crate) use {impl_binary, impl_float16, impl_integers};
