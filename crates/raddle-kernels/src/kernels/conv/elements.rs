//! What convolutions compute with: element types, and the functions behind their sums.

use raddle::device::matrix::{KMajor, WgmmaShared};
use raddle::prelude::*;

/// A function of one number: a code and two parameters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Activation {
    /// One of the codes below.
    pub code: u32,
    /// First parameter.
    pub a: f32,
    /// Second parameter.
    pub b: f32,
}

impl Activation {
    /// The number itself.
    pub const IDENTITY: Self = Self { code: 0, a: 0.0, b: 0.0 };
    /// At least zero.
    pub const RELU: Self = Self { code: 1, a: 0.0, b: f32::INFINITY };

    /// At least `min` and at most `max`.
    #[must_use]
    pub const fn clip(min: f32, max: f32) -> Self {
        Self { code: 1, a: min, b: max }
    }

    /// Negative numbers times `slope`.
    #[must_use]
    pub const fn leaky_relu(slope: f32) -> Self {
        Self { code: 2, a: slope, b: 0.0 }
    }

    /// `x * sigmoid(x)`.
    pub const SILU: Self = Self { code: 3, a: 0.0, b: 0.0 };
    /// `1 / (1 + exp(-x))`.
    pub const SIGMOID: Self = Self { code: 4, a: 0.0, b: 0.0 };
    /// `x * clip(a * x + b, 0, 1)`.
    pub const HARD_SWISH: Self = Self { code: 5, a: 1.0 / 6.0, b: 0.5 };
    /// The hyperbolic tangent.
    pub const TANH: Self = Self { code: 6, a: 0.0, b: 0.0 };

    /// The function's value. A NaN stays one.
    #[inline(always)]
    #[must_use]
    pub fn of(self, x: f32) -> f32 {
        match self.code {
            0 => x,
            1 => clamp(x, self.a, self.b),
            _ => Self::rare(self.code, self.a, self.b, x),
        }
    }

    /// The bounds that the function keeps numbers within, if it does nothing else.
    #[inline(always)]
    pub(crate) fn bounds(self) -> Option<[f32; 2]> {
        match self.code {
            0 => Some([f32::NEG_INFINITY, f32::INFINITY]),
            1 => Some([self.a, self.b]),
            _ => None,
        }
    }

    /// The functions that convolutions have less often: a call for each number, since
    /// eight copies of their code would keep sums out of registers. By parts, since a
    /// reference to them would move a kernel's parameters to local memory.
    #[inline(never)]
    fn rare(code: u32, a: f32, b: f32, x: f32) -> f32 {
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        match code {
            2 if x < 0.0 => a * x,
            3 => x * sigmoid,
            4 => sigmoid,
            5 => x * clamp(a * x + b, 0.0, 1.0),
            6 => x.tanh(),
            _ => x,
        }
    }

    /// The values of eight numbers, for functions that are more than bounds.
    #[inline(always)]
    pub(super) fn rare_of_eight(self, x: [f32; 8]) -> [f32; 8] {
        x.map(|x| Self::rare(self.code, self.a, self.b, x))
    }
}

/// `x` within bounds, without a branch; a NaN stays one.
#[inline(always)]
pub fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// A 16-bit element type that tensor cores multiply.
pub trait Half: Float + DeviceType + WgmmaShared<KMajor, Self, KMajor> {
    /// Two numbers rounded, the first in the lower bits.
    fn pack(first: f32, second: f32) -> u32;
    /// The larger numbers of two such pairs, or a NaN where there is one.
    fn maximum(one: u32, other: u32) -> u32;
}
impl Half for f16 {
    #[inline(always)]
    fn pack(first: f32, second: f32) -> u32 {
        f16x2::from_f32s(first, second).to_bits()
    }
    #[inline(always)]
    fn maximum(one: u32, other: u32) -> u32 {
        f16x2::from_bits(one).maximum(f16x2::from_bits(other)).to_bits()
    }
}
impl Half for bf16 {
    #[inline(always)]
    fn pack(first: f32, second: f32) -> u32 {
        bf16x2::from_f32s(first, second).to_bits()
    }
    #[inline(always)]
    fn maximum(one: u32, other: u32) -> u32 {
        bf16x2::from_bits(one).maximum(bf16x2::from_bits(other)).to_bits()
    }
}

/// Eight elements that are moved as one.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct Eight<T>(pub [T; 8]);
