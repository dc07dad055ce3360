//! [`tf32`]: the tensor cores' 19-bit reading of an `f32`.

use crate::bits::AnyBits;
use crate::param::{DeviceType, Zeroable};

/// An `f32` whose 13 lowest mantissa bits are zero: the operand of tf32 matrix
/// multiplication, with the range of `f32` and 10 mantissa bits.
///
/// *Source*: PTX ISA, "Alternate Floating-Point Data Formats"; `cvt.rna.tf32.f32`
/// needs `sm_80`.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Default, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct tf32(f32);

// SAFETY: `repr(transparent)` over `f32`.
unsafe impl DeviceType for tf32 {}
// SAFETY: zero bits are the number zero.
unsafe impl Zeroable for tf32 {}
// SAFETY: no padding, and any bits are a value.
unsafe impl AnyBits for tf32 {}

pub(super) mod ptx {
    intrinsics! {
            ROWS, "cvt";
            fn from_f32(value: f32) -> u32 = "raddle.asm:=r,f:cvt.rna.tf32.f32 $0, $1;", sm 80, ptx 70;
    }
}

impl tf32 {
    /// The nearest value, ties away from zero. PTX `cvt.rna.tf32.f32`.
    #[inline(always)]
    #[must_use]
    pub fn from_f32(value: f32) -> Self {
        #[cfg(raddle_device)]
        let bits = match value.is_nan() {
            // The instruction keeps a payload, which may be all in the lost bits.
            true => 0x7fff_e000,
            // SAFETY: a conversion has no requirements.
            false => unsafe { ptx::from_f32(value) & !0x1fff },
        };
        #[cfg(not(raddle_device))]
        let bits = match value.to_bits() {
            _ if value.is_nan() => 0x7fff_e000,
            // Half of the last kept bit, which may carry into infinity.
            bits => (bits + 0x1000) & !0x1fff,
        };
        Self(f32::from_bits(bits))
    }

    /// The value as an `f32`, exactly.
    #[inline(always)]
    #[must_use]
    pub const fn to_f32(self) -> f32 {
        self.0
    }

    /// The bits as a tensor core takes them.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0.to_bits()
    }
}

impl super::Float for tf32 {
    const ZERO: Self = Self(0.0);
    const ONE: Self = Self(1.0);
    /// Ties go away from zero.
    #[inline(always)]
    fn from_f32(value: f32) -> Self {
        tf32::from_f32(value)
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self.0
    }
}

impl From<tf32> for f32 {
    #[inline(always)]
    fn from(value: tf32) -> f32 {
        value.0
    }
}

impl core::fmt::Debug for tf32 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Debug::fmt(&self.0, f)
    }
}
