//! Exhaustive checks of the 16- and 8-bit formats against the `half` crate and
//! against exact arithmetic.

use super::*;
use std::vec::Vec;

fn all_patterns() -> impl Iterator<Item = u16> {
    0..=u16::MAX
}

/// Numbers around every rounding decision of a 16-bit format: each value, the
/// ties between neighbours and one f32 step to either side, and a pseudo-random
/// sweep of f32 patterns.
fn f32_cases() -> Vec<f32> {
    let mut cases = Vec::new();
    for bits in all_patterns() {
        for value in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
            let bits = value.to_bits();
            for step in [0i32, 1, -1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
                cases.push(f32::from_bits(bits.wrapping_add_signed(step)));
            }
        }
    }
    let mut state = 0x2545_f491u32;
    for _ in 0..2_000_000 {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        cases.push(f32::from_bits(state));
    }
    cases
}

#[test]
fn every_pattern_widens_as_in_half() {
    for bits in all_patterns() {
        let (ours, theirs) = (f16::from_bits(bits), half::f16::from_bits(bits));
        assert_eq!(ours.is_nan(), theirs.is_nan(), "f16 {bits:#06x}");
        if !ours.is_nan() {
            assert_eq!(ours.to_f32().to_bits(), theirs.to_f32().to_bits(), "f16 {bits:#06x}");
            assert_eq!(ours.to_f64().to_bits(), theirs.to_f64().to_bits(), "f16 {bits:#06x}");
            assert_eq!(f16::from_f32(ours.to_f32()).to_bits(), bits);
        }
        let (ours, theirs) = (bf16::from_bits(bits), half::bf16::from_bits(bits));
        assert_eq!(ours.is_nan(), theirs.is_nan(), "bf16 {bits:#06x}");
        if !ours.is_nan() {
            assert_eq!(ours.to_f32().to_bits(), theirs.to_f32().to_bits(), "bf16 {bits:#06x}");
            assert_eq!(bf16::from_f32(ours.to_f32()).to_bits(), bits);
        }
    }
}

#[test]
fn narrowing_rounds_as_in_half() {
    for value in f32_cases() {
        let (h, b) = (f16::from_f32(value), bf16::from_f32(value));
        if value.is_nan() {
            assert_eq!((h.to_bits(), b.to_bits()), (0x7fff, 0x7fff));
            continue;
        }
        let what = value.to_bits();
        assert_eq!(h.to_bits(), half::f16::from_f32(value).to_bits(), "f16 from {what:#010x}");
        assert_eq!(b.to_bits(), half::bf16::from_f32(value).to_bits(), "bf16 from {what:#010x}");
        assert_eq!(bf16::new(f64::from(value)).to_bits(), b.to_bits(), "bf16 from {what:#010x}");
    }
}

#[test]
fn narrowing_from_f64_rounds_once() {
    // Just above a tie of f16 by less than f32 can hold.
    let above_tie = 1.0 + 2f64.powi(-11) + 2f64.powi(-40);
    assert_eq!(f16::from_f64(above_tie).to_bits(), 0x3c01);
    assert_eq!(f16::from_f32(above_tie as f32).to_bits(), 0x3c00);
    assert_eq!(bf16::from_f64(1.0 + 2f64.powi(-8) + 2f64.powi(-50)).to_bits(), 0x3f81);
    assert_eq!(f16::from_f64(65519.999).to_bits(), f16::MAX.to_bits());
    assert_eq!(f16::from_f64(65520.0).to_bits(), f16::INFINITY.to_bits());
    assert_eq!(f16::from_f64(2f64.powi(-25)).to_bits(), 0);
    assert_eq!(f16::from_f64(2f64.powi(-25) * 1.0000001).to_bits(), 1);
    assert_eq!(f16::from_f64(-1e300).to_bits(), f16::NEG_INFINITY.to_bits());
    assert_eq!(f16::from_f64(-5e-324).to_bits(), f16::NEG_ZERO.to_bits());
}

/// Patterns with all exponents and mantissas near the ends and the middle.
fn sample_patterns(mantissa_bits: u32) -> Vec<u16> {
    let mantissa_mask = (1u16 << mantissa_bits) - 1;
    all_patterns()
        .filter(|bits| {
            let mantissa = bits & mantissa_mask;
            let near_half = mantissa.abs_diff(mantissa_mask / 2 + 1) <= 1;
            mantissa <= 1 || mantissa >= mantissa_mask - 1 || near_half
        })
        .collect()
}

/// The sum, difference or product of two numbers of a 16-bit format as one
/// rounding of the exact result, from integers of 640 bits at most: exact values
/// are compared as (sign, significand, exponent) by `half`'s f64 path only where
/// f64 is exact, so products and f16 sums.
#[test]
fn f16_arithmetic_is_rounded_once() {
    let patterns = sample_patterns(10);
    for &a in patterns.iter().step_by(3) {
        for &b in &patterns {
            let (x, y) = (f16::from_bits(a), f16::from_bits(b));
            // Exact in f64: 11 + 11 bits of product, a span of 40 bits of sum.
            check(x + y, half::f16::from_f64(x.to_f64() + y.to_f64()).to_bits(), ("+", a, b));
            check(x - y, half::f16::from_f64(x.to_f64() - y.to_f64()).to_bits(), ("-", a, b));
            check(x * y, half::f16::from_f64(x.to_f64() * y.to_f64()).to_bits(), ("*", a, b));
            check(x / y, half::f16::from_f64(x.to_f64() / y.to_f64()).to_bits(), ("/", a, b));
            check(x % y, half::f16::from_f64(x.to_f64() % y.to_f64()).to_bits(), ("%", a, b));
        }
    }
    fn check(found: f16, expected: u16, what: (&str, u16, u16)) {
        if half::f16::from_bits(expected).is_nan() {
            assert_eq!(found.to_bits(), 0x7fff, "{what:x?}");
        } else {
            assert_eq!(found.to_bits(), expected, "{what:x?}");
        }
    }
}

#[test]
fn bf16_arithmetic_is_rounded_once() {
    let patterns = sample_patterns(7);
    for &a in patterns.iter().step_by(5) {
        for &b in &patterns {
            let (x, y) = (bf16::from_bits(a), bf16::from_bits(b));
            let (wide_x, wide_y) = (x.to_f64(), y.to_f64());
            check(x * y, half::bf16::from_f64(wide_x * wide_y).to_bits(), ("*", a, b));
            check(x / y, half::bf16::from_f64(wide_x / wide_y).to_bits(), ("/", a, b));
            check(x % y, half::bf16::from_f64(wide_x % wide_y).to_bits(), ("%", a, b));
            // f64 rounds a far-apart sum, but never onto a tie of bf16: the
            // smaller operand is below the larger one's half ulp.
            check(x + y, half::bf16::from_f64(wide_x + wide_y).to_bits(), ("+", a, b));
            check(x - y, half::bf16::from_f64(wide_x - wide_y).to_bits(), ("-", a, b));
        }
    }
    fn check(found: bf16, expected: u16, what: (&str, u16, u16)) {
        if half::bf16::from_bits(expected).is_nan() {
            assert_eq!(found.to_bits(), 0x7fff, "{what:x?}");
        } else {
            assert_eq!(found.to_bits(), expected, "{what:x?}");
        }
    }
}

/// All quotients of significands at every exponent where bf16 is subnormal.
#[test]
fn bf16_division_into_subnormals_is_rounded_once() {
    for a in 128u32..256 {
        for b in 128u32..256 {
            for shift in 0..12 {
                let x = bf16::new(f64::from(a) * 2f64.powi(-133 + 7 + 1));
                let y = bf16::new(f64::from(b) * 2f64.powi(shift));
                let expected = bf16::new(x.to_f64() / y.to_f64());
                assert_eq!((x / y).to_bits(), expected.to_bits(), "{a} / {b} >> {shift}");
            }
        }
    }
}

#[test]
fn fused_multiply_add_rounds_once() {
    // a * b is a tie of bf16, and c decides far below f64's last bit.
    let tie_factor = bf16::new(1.0 + 2f64.powi(-4));
    let other = bf16::new(1.0 + 2f64.powi(-4));
    // (1 + 2^-4)^2 = 1 + 2^-3 + 2^-8: half way between 1.125 and the next bf16.
    let tiny = bf16::MIN_POSITIVE_SUBNORMAL;
    assert_eq!(tie_factor.mul_add(other, tiny).to_f32(), 1.1328125);
    assert_eq!(tie_factor.mul_add(other, -tiny).to_f32(), 1.125);
    assert_eq!(tie_factor.mul_add(other, bf16::ZERO).to_f32(), 1.125);
    // -1.125 * -... the negative side mirrors.
    assert_eq!((-tie_factor).mul_add(other, -tiny).to_f32(), -1.1328125);
    // f16: one rounding keeps what two would lose.
    let x = f16::new(1.0 + 3.0 * 2f64.powi(-10));
    let square_less_one = x.mul_add(x, f16::new(-1.0));
    assert_eq!(square_less_one.to_f64(), 2f64.powi(-10) * (6.0 + 2f64.powi(-7)));
    assert_eq!((x * x - f16::ONE).to_f64(), 2f64.powi(-10) * 6.0);
    assert!(f16::INFINITY.mul_add(f16::ZERO, f16::ONE).is_nan());
    assert_eq!(f16::INFINITY.mul_add(f16::ONE, f16::NEG_INFINITY).to_bits(), 0x7fff);
    assert_eq!(f16::MAX.mul_add(f16::MAX, f16::NEG_INFINITY).to_bits(), 0xfc00);
}

#[test]
fn square_roots_are_rounded_once() {
    for bits in all_patterns() {
        let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
        let (wide_h, wide_b) = (f16::new(h.to_f64().sqrt()), bf16::new(b.to_f64().sqrt()));
        assert_eq!(h.sqrt().to_bits(), wide_h.to_bits(), "{bits:#06x}");
        assert_eq!(b.sqrt().to_bits(), wide_b.to_bits(), "{bits:#06x}");
    }
}

#[test]
fn order_and_extremes_follow_ptx() {
    let (zero, minus_zero) = (f16::ZERO, f16::NEG_ZERO);
    assert_eq!(zero, minus_zero);
    assert_eq!(zero.min(minus_zero).to_bits(), 0x8000);
    assert_eq!(minus_zero.max(zero).to_bits(), 0);
    assert_eq!(f16::NAN.min(f16::ONE).to_bits(), f16::ONE.to_bits());
    assert_eq!(f16::ONE.max(f16::NAN).to_bits(), f16::ONE.to_bits());
    assert_eq!(f16::from_bits(0xfe00).max(f16::from_bits(0x7c01)).to_bits(), 0x7fff);
    assert!(f16::NAN.partial_cmp(&f16::ONE).is_none());
    assert!(f16::new(-2.0) < f16::new(-1.5) && bf16::new(3.0) > bf16::new(2.0));
    let mut numbers = [f16::ONE, f16::NEG_INFINITY, f16::ZERO, f16::NEG_ZERO, f16::NAN];
    numbers.sort_by(f16::total_cmp);
    assert_eq!(numbers.map(f16::to_bits), [0xfc00, 0x8000, 0, 0x3c00, 0x7fff]);
}

#[test]
fn text_sums_and_integers() {
    assert_eq!(
        std::format!("{} {:?} {:.2}", f16::new(0.5), bf16::new(2.0), f16::new(3.16)),
        "0.5 2.0 3.16"
    );
    assert_eq!("1.5".parse::<f16>().map(f16::to_bits), Ok(0x3e00));
    assert!("x".parse::<bf16>().is_err());
    let sum: f16 = (1u8..=10).map(f16::from).sum();
    assert_eq!(sum.to_f32(), 55.0);
    let product: bf16 = [2.0, 4.0, -0.5].into_iter().map(bf16::new).product();
    assert_eq!(product.to_f32(), -4.0);
    assert_eq!(f16::new(-3.9).to_i32(), -3);
    assert_eq!(f16::INFINITY.to_u8(), 255);
    assert_eq!(f16::NAN.to_i64(), 0);
}

#[test]
fn fp8_round_trips_and_saturates() {
    for bits in 0..=u8::MAX {
        let (x, y) = (f8e4m3::from_bits(bits), f8e5m2::from_bits(bits));
        if !x.is_nan() {
            assert_eq!(f8e4m3::from_f32(x.to_f32()).to_bits(), bits);
        }
        if y.to_f32().is_finite() {
            assert_eq!(f8e5m2::from_f32(y.to_f32()).to_bits(), bits);
            // e5m2 is the upper half of binary16.
            assert_eq!(y.to_f32(), half::f16::from_bits(u16::from(bits) << 8).to_f32());
        }
    }
    assert_eq!(f8e4m3::MAX.to_f32(), 448.0);
    assert_eq!(f8e5m2::MAX.to_f32(), 57344.0);
    for (value, e4m3, e5m2) in [
        (f32::INFINITY, 0x7e, 0x7b),
        (f32::NEG_INFINITY, 0xfe, 0xfb),
        (1e9, 0x7e, 0x7b),
        (464.0, 0x7e, 0x5f),
        (f32::NAN, 0x7f, 0x7f),
        (-0.0, 0x80, 0x80),
        (2f32.powi(-10), 0x00, 0x14),
        (2f32.powi(-10) * 1.001, 0x01, 0x14),
        (2f32.powi(-17), 0x00, 0x00),
        (1.0625, 0x38, 0x3c),
        (1.1875, 0x3a, 0x3d),
    ] {
        assert_eq!(f8e4m3::from_f32(value).to_bits(), e4m3, "e4m3 from {value}");
        assert_eq!(f8e5m2::from_f32(value).to_bits(), e5m2, "e5m2 from {value}");
    }
    assert!(f8e5m2::from_bits(0x7c).to_f32().is_infinite());
    assert!(f8e4m3::from_bits(0xff).is_nan() && f8e5m2::from_bits(0x7d).is_nan());
}

/// Every fp8 value and the midpoints between neighbours, by comparing distances.
#[test]
fn fp8_rounding_picks_the_nearest_even() {
    for bits in 0..0x7eu8 {
        let (low, high) = (f8e4m3::from_bits(bits), f8e4m3::from_bits(bits + 1));
        let middle = (low.to_f32() + high.to_f32()) / 2.0;
        let even = if bits & 1 == 0 { low } else { high };
        assert_eq!(f8e4m3::from_f32(middle).to_bits(), even.to_bits());
        assert_eq!(f8e4m3::from_f32(middle.next_up()).to_bits(), high.to_bits());
        assert_eq!(f8e4m3::from_f32(-middle.next_down()).to_bits(), low.to_bits() | 0x80);
    }
    for bits in 0..0x7bu8 {
        let (low, high) = (f8e5m2::from_bits(bits), f8e5m2::from_bits(bits + 1));
        let middle = (low.to_f32() + high.to_f32()) / 2.0;
        let even = if bits & 1 == 0 { low } else { high };
        assert_eq!(f8e5m2::from_f32(middle).to_bits(), even.to_bits());
        assert_eq!(f8e5m2::from_f32(middle.next_up()).to_bits(), high.to_bits());
    }
}

#[test]
fn tf32_rounds_ties_away() {
    for (value, expected) in [
        (1.0f32, 0x3f80_0000u32),
        (f32::from_bits(0x3f80_1000), 0x3f80_2000),
        (f32::from_bits(0x3f80_0fff), 0x3f80_0000),
        (f32::from_bits(0xbf80_1000), 0xbf80_2000),
        (f32::INFINITY, 0x7f80_0000),
        (f32::MAX, 0x7f80_0000),
    ] {
        assert_eq!(tf32::from_f32(value).to_bits(), expected, "{value}");
    }
    assert!(tf32::from_f32(f32::NAN).to_f32().is_nan());
}

#[test]
fn pairs_work_on_both_halves() {
    let a = f16x2::from_f32s(1.5, -2.0);
    let b = f16x2::new(f16::new(0.25), f16::new(8.0));
    assert_eq!((a + b).to_f32s(), [1.75, 6.0]);
    assert_eq!((a - b).to_f32s(), [1.25, -10.0]);
    assert_eq!((a * b).to_f32s(), [0.375, -16.0]);
    assert_eq!(a.mul_add(b, b).to_f32s(), [0.625, -8.0]);
    assert_eq!(a.min(b).to_f32s(), [0.25, -2.0]);
    assert_eq!(a.max(b).abs().to_f32s(), [1.5, 8.0]);
    assert_eq!(a.maximum(b).to_f32s(), [1.5, 8.0]);
    let [some, nan] = f16x2::new(f16::new(0.5), f16::NAN).maximum(a).into();
    assert_eq!((some.to_f32(), nan.to_bits()), (1.5, f16::NAN.to_bits()));
    assert_eq!(a.swap().to_f32s(), [-2.0, 1.5]);
    assert_eq!((-a).to_bits(), 0x4000_be00);
    let halves: [bf16; 2] = bf16x2::from_f32s(3.0, 4.0).into();
    assert_eq!(halves.map(bf16::to_f32), [3.0, 4.0]);
    assert_eq!(f8e4m3x2::new(f8e4m3::ONE, f8e4m3::MAX).to_bits(), 0x7e38);
}

/// Every pair of patterns of packed arithmetic equals the scalar operators.
#[test]
fn packed_arithmetic_equals_scalar() {
    let patterns = sample_patterns(10);
    for (i, &a) in patterns.iter().enumerate() {
        let b = patterns[(i * 7919 + 13) % patterns.len()];
        let (x, y) = (f16::from_bits(a), f16::from_bits(b));
        let (pair_x, pair_y) = (f16x2::new(x, y), f16x2::new(y, x));
        assert_eq!((pair_x + pair_y).to_bits(), f16x2::new(x + y, y + x).to_bits());
        assert_eq!((pair_x - pair_y).to_bits(), f16x2::new(x - y, y - x).to_bits());
        assert_eq!((pair_x * pair_y).to_bits(), f16x2::new(x * y, y * x).to_bits());
    }
}
