//! Elements of any type in memory that is read and written as words of 8 bytes.
//!
//! A buffer is a list of words, and an element of 1, 2, 4 or 8 bytes lies where it would
//! in memory; the last word is filled up. A thread owns whole words of the output, so
//! kernels on any type need no `unsafe` and one image serves all types: a code, equal
//! for all threads, says how an element is loaded and stored, and kernels compute in
//! one of three types ([`Compute`]).

use raddle::prelude::*;

/// Makes a list of codes with the way back from the number that a kernel is given.
macro_rules! codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number that a kernel is given.
            #[must_use]
            pub const fn code(self) -> u32 {
                self as u32
            }

            /// The reverse of [`Self::code`].
            ///
            /// *Panics* for a number that is no code.
            #[inline(always)]
            #[must_use]
            pub fn of(code: u32) -> Self {
                Self::ALL[code as usize]
            }
        }
    };
}
pub(crate) use codes;

codes! {
    /// Type of the elements in memory.
    Scalar { F32, F64, F16, BF16, I8, I16, I32, I64, U8, U16, U32, U64, Bool }
}

impl Scalar {
    /// Whether it has fractions.
    #[inline(always)]
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// Bytes of an element, as the power of two.
    #[inline(always)]
    #[must_use]
    pub const fn shift(self) -> u32 {
        match self {
            Self::I8 | Self::U8 | Self::Bool => 0,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 1,
            Self::F32 | Self::I32 | Self::U32 => 2,
            Self::F64 | Self::I64 | Self::U64 => 3,
        }
    }
}

/// The bits of an element of `1 << shift` bytes; what lies above them is of others.
#[inline(always)]
pub fn bits(words: &[u64], shift: u32, index: usize) -> u64 {
    let byte = index << shift;
    words[byte >> 3] >> ((byte & 7) * 8)
}

/// The lowest `8 << shift` bits.
#[inline(always)]
pub fn lowest(bits: u64, shift: u32) -> u64 {
    bits & (u64::MAX >> (64 - (8 << shift)))
}

/// The word at `index`, made of the elements that `element` gives the bits of.
#[inline(always)]
pub fn word(index: usize, shift: u32, len: u32, mut element: impl FnMut(u32) -> u64) -> u64 {
    let count = 8u32 >> shift;
    let first = index as u32 * count;
    let mut word = 0;
    for k in 0..count {
        if first + k < len {
            word |= lowest(element(first + k), shift) << (k * (8 << shift));
        }
    }
    word
}

/// Most dimensions of a value; neighbours that lie together count as one.
pub const RANK_MAX: usize = 8;

/// Dimensions and strides of an operand along them, in elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct View {
    /// Code of the element type.
    pub scalar: u32,
    /// The element at the origin.
    pub offset: i32,
    /// Distance of neighbours along each dimension.
    pub strides: [i32; RANK_MAX],
}

/// Dimensions, the last one innermost; the first ones are 1 where there are fewer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Dims {
    /// Lengths.
    pub dims: [u32; RANK_MAX],
    /// Dimensions that count, from the last one.
    pub rank: u32,
    /// Elements.
    pub len: u32,
}

impl Dims {
    /// Calls `visit` with the dimension and the coordinate of an element, innermost first.
    #[inline(always)]
    pub fn coordinates(&self, index: u32, mut visit: impl FnMut(usize, u32)) {
        let mut rest = index;
        for back in 0..self.rank as usize {
            let axis = RANK_MAX - 1 - back;
            let dim = self.dims[axis];
            visit(axis, rest % dim);
            rest /= dim;
        }
    }
}

impl View {
    /// The place of the element of `dims` with this index.
    #[inline(always)]
    pub fn at(&self, dims: &Dims, index: u32) -> usize {
        let mut at = self.offset;
        dims.coordinates(index, |axis, c| at += c as i32 * self.strides[axis]);
        at as usize
    }
}

/// A type that kernels compute in.
pub trait Compute: DeviceType + PartialOrd + PartialEq {
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// An element of memory.
    fn load(words: &[u64], scalar: u32, index: usize) -> Self;
    /// The bits of the element in memory.
    fn store(self, scalar: u32) -> u64;
    /// The sum; integers wrap.
    fn plus(self, other: Self) -> Self;
    /// The product; integers wrap.
    fn times(self, other: Self) -> Self;
    /// Whether this is to be preferred to `other` as the larger number; NaN is.
    fn is_more(self, other: Self, is_unsigned: bool) -> bool;
    /// Whether this is to be preferred to `other` as the smaller number; NaN is.
    fn is_less(self, other: Self, is_unsigned: bool) -> bool;
}

macro_rules! float {
    ($ty:ident) => {
        impl Compute for $ty {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;

            #[inline(always)]
            fn load(words: &[u64], scalar: u32, index: usize) -> Self {
                let scalar = Scalar::of(scalar);
                let bits = bits(words, scalar.shift(), index);
                match scalar {
                    Scalar::F32 => f32::from_bits(bits as u32) as Self,
                    Scalar::F64 => f64::from_bits(bits) as Self,
                    Scalar::F16 => f16::from_bits(bits as u16).to_f32() as Self,
                    Scalar::BF16 => bf16::from_bits(bits as u16).to_f32() as Self,
                    Scalar::U64 => bits as Self,
                    Scalar::I8 => bits as i8 as Self,
                    Scalar::I16 => bits as i16 as Self,
                    Scalar::I32 => bits as i32 as Self,
                    Scalar::I64 => bits as i64 as Self,
                    Scalar::U8 | Scalar::Bool => bits as u8 as Self,
                    Scalar::U16 => bits as u16 as Self,
                    Scalar::U32 => bits as u32 as Self,
                }
            }

            #[inline(always)]
            fn store(self, scalar: u32) -> u64 {
                match Scalar::of(scalar) {
                    Scalar::F32 => u64::from((self as f32).to_bits()),
                    Scalar::F64 => (self as f64).to_bits(),
                    Scalar::F16 => u64::from(f16::from_f32(self as f32).to_bits()),
                    Scalar::BF16 => u64::from(bf16::from_f32(self as f32).to_bits()),
                    Scalar::U64 => self as u64,
                    Scalar::Bool => u64::from(self != 0.0),
                    Scalar::I8
                    | Scalar::I16
                    | Scalar::I32
                    | Scalar::I64
                    | Scalar::U8
                    | Scalar::U16
                    | Scalar::U32 => self as i64 as u64,
                }
            }

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }

            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }

            #[inline(always)]
            fn is_more(self, other: Self, _: bool) -> bool {
                self > other || self.is_nan() && !other.is_nan()
            }

            #[inline(always)]
            fn is_less(self, other: Self, _: bool) -> bool {
                self < other || self.is_nan() && !other.is_nan()
            }
        }
    };
}
float!(f32);
float!(f64);

impl Compute for i64 {
    const ZERO: Self = 0;
    const ONE: Self = 1;

    #[inline(always)]
    fn load(words: &[u64], scalar: u32, index: usize) -> Self {
        let scalar = Scalar::of(scalar);
        let bits = bits(words, scalar.shift(), index);
        match scalar {
            Scalar::I8 => Self::from(bits as i8),
            Scalar::I16 => Self::from(bits as i16),
            Scalar::I32 => Self::from(bits as i32),
            Scalar::I64 | Scalar::U64 | Scalar::F64 => bits as Self,
            Scalar::U8 | Scalar::Bool => Self::from(bits as u8),
            Scalar::U16 | Scalar::F16 | Scalar::BF16 => Self::from(bits as u16),
            Scalar::U32 | Scalar::F32 => Self::from(bits as u32),
        }
    }

    /// Floats are moved as they are.
    #[inline(always)]
    fn store(self, scalar: u32) -> u64 {
        if Scalar::of(scalar) == Scalar::Bool { u64::from(self != 0) } else { self as u64 }
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }

    #[inline(always)]
    fn is_more(self, other: Self, is_unsigned: bool) -> bool {
        if is_unsigned { self as u64 > other as u64 } else { self > other }
    }

    #[inline(always)]
    fn is_less(self, other: Self, is_unsigned: bool) -> bool {
        other.is_more(self, is_unsigned)
    }
}
