//! Conversions between 128-bit integers and floats, which PTX has none of: rounded to
//! nearest, ties to even, and saturating, as `as` does.

/// The largest 64-bit part of `value`, with a bit for what lies below it, and how many
/// bits lie below. The float types keep fewer than 63 bits, so that rounding this is
/// rounding `value`.
fn rounded_part(value: u128) -> (u64, u32) {
    let below = 64 - value.leading_zeros().min(64);
    if below == 0 {
        return (value as u64, 0);
    }
    let is_inexact = value << (128 - below) != 0;
    ((value >> below) as u64 | u64::from(is_inexact), below)
}

macro_rules! conversions {
    ($float:ident $bits:ident $mantissa:literal: $from_unsigned:ident $from_signed:ident $to_unsigned:ident $to_signed:ident) => {
        #[unsafe(no_mangle)]
        extern "C" fn $from_unsigned(value: u128) -> $float {
            let (part, below) = rounded_part(value);
            const BIAS: u32 = $float::MAX_EXP as u32 - 1;
            // A product with a power of two is exact, or beyond the largest float.
            part as $float * $float::from_bits($bits::from(BIAS + below) << $mantissa)
        }

        #[unsafe(no_mangle)]
        extern "C" fn $from_signed(value: i128) -> $float {
            let magnitude = $from_unsigned(value.unsigned_abs());
            if value < 0 { -magnitude } else { magnitude }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $to_unsigned(value: $float) -> u128 {
            if value < 1.0 || value.is_nan() {
                return 0;
            }
            const BIAS: u32 = $float::MAX_EXP as u32 - 1;
            let bits = value.to_bits();
            let exponent = (bits >> $mantissa) as u32 - BIAS;
            if exponent >= u128::BITS {
                return u128::MAX;
            }
            const HIDDEN: $bits = 1 << $mantissa;
            let digits = u128::from(bits & (HIDDEN - 1) | HIDDEN);
            if exponent >= $mantissa {
                digits << (exponent - $mantissa)
            } else {
                digits >> ($mantissa - exponent)
            }
        }

        #[unsafe(no_mangle)]
        extern "C" fn $to_signed(value: $float) -> i128 {
            const LIMIT: u128 = 1 << 127;
            let magnitude = $to_unsigned(value.abs());
            match value < 0.0 {
                true if magnitude >= LIMIT => i128::MIN,
                true => -(magnitude as i128),
                false if magnitude >= LIMIT => i128::MAX,
                false => magnitude as i128,
            }
        }
    };
}

conversions!(f32 u32 23: __raddle_rt_u128_to_f32 __raddle_rt_i128_to_f32 __raddle_rt_f32_to_u128 __raddle_rt_f32_to_i128);
conversions!(f64 u64 52: __raddle_rt_u128_to_f64 __raddle_rt_i128_to_f64 __raddle_rt_f64_to_u128 __raddle_rt_f64_to_i128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_those_of_as() {
        let mut state = 1u128;
        for round in 0..20_000u32 {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            let wide = match round % 4 {
                0 => state >> (round / 4 % 128),
                // A tie of either float, or its neighbour.
                1 => {
                    (1 << (round / 4 % 128)) | (1u128 << (round / 4 % 128)) >> 24 | 1 >> (round % 3)
                }
                2 => (3 << (round / 4 % 126)) | (1u128 << (round / 4 % 126)) >> 53,
                _ => u128::MAX - (state >> (round / 4 % 128)),
            };
            assert_eq!(__raddle_rt_u128_to_f32(wide).to_bits(), (wide as f32).to_bits(), "{wide}");
            assert_eq!(__raddle_rt_u128_to_f64(wide).to_bits(), (wide as f64).to_bits(), "{wide}");
            let signed = wide as i128;
            assert_eq!(__raddle_rt_i128_to_f32(signed), signed as f32, "{signed}");
            assert_eq!(__raddle_rt_i128_to_f64(signed), signed as f64, "{signed}");
            let (single, double) = (f32::from_bits(state as u32), f64::from_bits(state as u64));
            for single in [single, wide as f32, -(wide as f32)] {
                assert_eq!(__raddle_rt_f32_to_u128(single), single as u128, "{single:e}");
                assert_eq!(__raddle_rt_f32_to_i128(single), single as i128, "{single:e}");
            }
            for double in [double, wide as f64, -(wide as f64)] {
                assert_eq!(__raddle_rt_f64_to_u128(double), double as u128, "{double:e}");
                assert_eq!(__raddle_rt_f64_to_i128(double), double as i128, "{double:e}");
            }
        }
    }
}
