//! Fast approximations that the hardware computes in one instruction, for kernels
//! in which the last bits matter less than time. The exact functions are methods of
//! `f32` and `f64`.
//!
//! *Source*: PTX ISA, "Floating Point Instructions": `ex2`, `lg2`, `rcp`, `rsqrt`,
//! `sqrt`, `sin`, `cos`, `tanh`, each `.approx`; "Half Precision Floating Point
//! Instructions": `ex2`, `tanh`. The host bodies compute with std (`exp2_approx` also
//! flushes subnormals as its instruction does), so devices agree within the stated
//! errors and not bit for bit.

use crate::float::f16x2;

macro_rules! approximations {
    ($($(#[$doc:meta])* $name:ident $row:ident $link:literal sm $sm:literal ptx $ptx:literal, |$x:ident| $host:expr;)*) => {
        intrinsics! {
            APPROXIMATIONS, "Floating Point Instructions: approx";
            $(fn $row(x: f32) -> f32 = $link, sm $sm, ptx $ptx;)*
        }
        $(
            $(#[$doc])*
            #[inline(always)]
            #[must_use]
            pub fn $name($x: f32) -> f32 {
                #[cfg(raddle_device)]
                // SAFETY: computes a number.
                return unsafe { $row($x) };
                #[cfg(not(raddle_device))]
                $host
            }
        )*
    };
}

approximations! {
    /// 2^x with an error of at most 2 ulp; subnormal arguments and results count as
    /// zero. PTX `ex2.approx.ftz.f32`.
    exp2_approx ex2_f32 "raddle.asm:=f,f:ex2.approx.ftz.f32 $0, $1;" sm 20 ptx 14, |x| flush(flush(x).exp2());
    /// `log2 x`, with an absolute error below 2^-22 for `x` in 0.5 to 2 and a relative
    /// one below 2^-22 elsewhere. PTX `lg2.approx.f32`.
    log2_approx lg2_f32 "raddle.asm:=f,f:lg2.approx.f32 $0, $1;" sm 20 ptx 14, |x| x.log2();
    /// `1 / x`, within 1 ulp. PTX `rcp.approx.f32`.
    recip_approx rcp_f32 "raddle.asm:=f,f:rcp.approx.f32 $0, $1;" sm 20 ptx 14, |x| x.recip();
    /// `1 / sqrt x`, with a relative error below 2^-22.9. PTX `rsqrt.approx.f32`.
    rsqrt_approx rsqrt_f32 "raddle.asm:=f,f:rsqrt.approx.f32 $0, $1;" sm 20 ptx 14, |x| (1.0 / f64::from(x).sqrt()) as f32;
    /// `sqrt x`, with a relative error below 2^-23. PTX `sqrt.approx.f32`.
    sqrt_approx sqrt_f32 "raddle.asm:=f,f:sqrt.approx.f32 $0, $1;" sm 20 ptx 14, |x| x.sqrt();
    /// `sin x` for `x` in -π to π, with an absolute error below 2^-20.5. PTX
    /// `sin.approx.f32`.
    sin_approx sin_f32 "raddle.asm:=f,f:sin.approx.f32 $0, $1;" sm 20 ptx 14, |x| x.sin();
    /// `cos x` for `x` in -π to π, with an absolute error below 2^-20.5. PTX
    /// `cos.approx.f32`.
    cos_approx cos_f32 "raddle.asm:=f,f:cos.approx.f32 $0, $1;" sm 20 ptx 14, |x| x.cos();
    /// `tanh x`, with a relative error below 2^-11. PTX `tanh.approx.f32`, `sm_75`.
    tanh_approx tanh_f32 "raddle.asm:=f,f:tanh.approx.f32 $0, $1;" sm 75 ptx 70, |x| x.tanh();
}

intrinsics! {
    PAIRS, "Half Precision Floating Point Instructions: ex2, tanh";
    fn ex2_f16x2(x: u32) -> u32 = "raddle.asm:=r,r:ex2.approx.f16x2 $0, $1;", sm 75, ptx 70;
    fn tanh_f16x2(x: u32) -> u32 = "raddle.asm:=r,r:tanh.approx.f16x2 $0, $1;", sm 75, ptx 70;
}

impl f16x2 {
    /// `2^x` of both elements, with a relative error below 2^-9.9. PTX
    /// `ex2.approx.f16x2`, `sm_75`.
    #[inline(always)]
    #[must_use]
    pub fn exp2_approx(self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: computes a number.
        return Self::from_bits(unsafe { ex2_f16x2(self.to_bits()) });
        #[cfg(not(raddle_device))]
        {
            let [low, high] = self.to_f32s();
            Self::from_f32s(low.exp2(), high.exp2())
        }
    }

    /// `tanh x` of both elements, with an absolute error below 2^-10.987. PTX
    /// `tanh.approx.f16x2`, `sm_75`.
    #[inline(always)]
    #[must_use]
    pub fn tanh_approx(self) -> Self {
        #[cfg(raddle_device)]
        // SAFETY: computes a number.
        return Self::from_bits(unsafe { tanh_f16x2(self.to_bits()) });
        #[cfg(not(raddle_device))]
        {
            let [low, high] = self.to_f32s();
            Self::from_f32s(low.tanh(), high.tanh())
        }
    }
}

#[cfg(not(raddle_device))]
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

#[cfg(all(test, not(raddle_device)))]
mod tests {
    use super::*;

    #[test]
    fn subnormal_results_are_flushed() {
        assert_eq!(exp2_approx(3.0), 8.0);
        assert_eq!(exp2_approx(-130.0), 0.0);
        assert_eq!(exp2_approx(-126.0), f32::MIN_POSITIVE);
        assert_eq!(exp2_approx(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn host_bodies_are_the_exact_functions() {
        assert_eq!((log2_approx(8.0), recip_approx(4.0), rsqrt_approx(16.0)), (3.0, 0.25, 0.25));
        assert_eq!((sqrt_approx(9.0), sin_approx(0.0), cos_approx(0.0)), (3.0, 0.0, 1.0));
        assert_eq!(tanh_approx(f32::INFINITY), 1.0);
        assert_eq!(f16x2::from_f32s(3.0, -1.0).exp2_approx().to_f32s(), [8.0, 0.5]);
        assert_eq!(f16x2::from_f32s(0.0, 100.0).tanh_approx().to_f32s(), [0.0, 1.0]);
    }
}
