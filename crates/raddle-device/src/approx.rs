//! Fast approximations that the hardware computes in one instruction.
//!
//! *Source*: PTX ISA, "Floating Point Instructions", variants `.approx.ftz`. The host
//! bodies compute with std and flush subnormal results as the instruction does, so
//! devices agree within the stated errors and not bit for bit.

#[cfg(raddle_device)]
asm_intrinsic! {
    fn ex2(x: f32) -> f32 = "raddle.asm:=f,f:ex2.approx.ftz.f32 $0, $1;";
}

/// 2^x with an error of at most 2 ulp; subnormal arguments and results count as
/// zero. PTX `ex2.approx.ftz.f32`.
#[inline(always)]
#[must_use]
pub fn exp2_approx(x: f32) -> f32 {
    #[cfg(raddle_device)]
    // SAFETY: plain arithmetic.
    return unsafe { ex2(x) };
    #[cfg(not(raddle_device))]
    flush(flush(x).exp2())
}

#[cfg(not(raddle_device))]
fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnormal_results_are_flushed() {
        assert_eq!(exp2_approx(3.0), 8.0);
        assert_eq!(exp2_approx(-130.0), 0.0);
        assert_eq!(exp2_approx(-126.0), f32::MIN_POSITIVE);
        assert_eq!(exp2_approx(f32::NEG_INFINITY), 0.0);
    }
}
