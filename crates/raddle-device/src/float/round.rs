//! Encoding and decoding of narrow binary formats in plain Rust: the host body
//! of every conversion, and the device body where the portable target has no
//! instruction.
//!
//! A [`Format`] is a sign bit, an exponent and a mantissa with gradual
//! underflow. Values pass through `f64`, which holds every value of every format
//! here, and every product of two of them, exactly.

/// Shape of a narrow binary format with IEEE-style subnormals.
#[derive(Clone, Copy)]
pub(crate) struct Format {
    /// Explicit mantissa bits.
    pub mantissa_bits: u32,
    /// Exponent of the smallest normal number.
    pub exponent_min: i32,
    /// Largest finite magnitude, encoded.
    pub max_finite: u32,
}

pub(crate) const F16: Format = Format { mantissa_bits: 10, exponent_min: -14, max_finite: 0x7bff };
pub(crate) const BF16: Format = Format { mantissa_bits: 7, exponent_min: -126, max_finite: 0x7f7f };
pub(crate) const E4M3: Format = Format { mantissa_bits: 3, exponent_min: -6, max_finite: 0x7e };
pub(crate) const E5M2: Format = Format { mantissa_bits: 2, exponent_min: -14, max_finite: 0x7b };

const F64_MANTISSA_BITS: u32 = 52;
const F64_BIAS: i32 = 1023;

impl Format {
    /// The encoded magnitude nearest to `|value|`, ties to even. It may lie above
    /// `max_finite`, where the caller decides between infinity and saturation.
    /// `value` is not a NaN.
    #[inline]
    pub(crate) const fn encode_magnitude(self, value: f64) -> u32 {
        let bits = value.to_bits() & (u64::MAX >> 1);
        let exponent = (bits >> F64_MANTISSA_BITS) as i32 - F64_BIAS;
        if exponent < self.exponent_min - self.mantissa_bits as i32 - 1 {
            // Below half of the smallest subnormal.
            return 0;
        }
        let significand = bits & ((1 << F64_MANTISSA_BITS) - 1) | 1 << F64_MANTISSA_BITS;
        let below_normal =
            if exponent < self.exponent_min { (self.exponent_min - exponent) as u32 } else { 0 };
        let shift = F64_MANTISSA_BITS - self.mantissa_bits + below_normal;
        let kept = (significand >> shift) as u32;
        let rest = significand & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        let rounded = kept + (rest > half || (rest == half && kept & 1 == 1)) as u32;
        if below_normal > 0 {
            return rounded;
        }
        // A carry out of the mantissa moves into the exponent by itself.
        (((exponent - self.exponent_min) as u32) << self.mantissa_bits) + rounded
    }

    /// The value of a finite encoded magnitude.
    #[inline]
    pub(crate) const fn decode_magnitude(self, magnitude: u32) -> f64 {
        let mantissa = magnitude & ((1 << self.mantissa_bits) - 1);
        let exponent = magnitude >> self.mantissa_bits;
        if exponent == 0 {
            // An integer times a power of two: both exact.
            return mantissa as f64 * power_of_two(self.exponent_min - self.mantissa_bits as i32);
        }
        let biased = (exponent as i32 - 1 + self.exponent_min + F64_BIAS) as u64;
        let mantissa = (mantissa as u64) << (F64_MANTISSA_BITS - self.mantissa_bits);
        f64::from_bits(biased << F64_MANTISSA_BITS | mantissa)
    }

    /// The remainder of two finite encoded magnitudes, exactly; `divisor` is not
    /// zero.
    pub(crate) const fn remainder(self, dividend: u32, divisor: u32) -> u32 {
        let (dividend, dividend_exponent) = self.as_integer(dividend);
        let (divisor, divisor_exponent) = self.as_integer(divisor);
        if dividend_exponent < divisor_exponent {
            let shift = divisor_exponent - dividend_exponent;
            // A divisor more than twice the dividend's span leaves it as it is.
            let divisor = if shift > self.mantissa_bits { u32::MAX } else { divisor << shift };
            return self.encode_integer(dividend % divisor, dividend_exponent);
        }
        let mut rest = dividend % divisor;
        let mut shift = dividend_exponent - divisor_exponent;
        while shift > 0 && rest > 0 {
            rest = (rest << 1) % divisor;
            shift -= 1;
        }
        self.encode_integer(rest, divisor_exponent)
    }

    /// An encoded magnitude as `significand * 2^exponent` in units of the smallest
    /// subnormal.
    const fn as_integer(self, magnitude: u32) -> (u32, u32) {
        let mantissa = magnitude & ((1 << self.mantissa_bits) - 1);
        match magnitude >> self.mantissa_bits {
            0 => (mantissa, 0),
            exponent => (mantissa | 1 << self.mantissa_bits, exponent - 1),
        }
    }

    /// The inverse of [`Self::as_integer`] for any significand that fits.
    const fn encode_integer(self, significand: u32, exponent: u32) -> u32 {
        if significand == 0 {
            return 0;
        }
        let missing = (significand.leading_zeros()).saturating_sub(31 - self.mantissa_bits);
        let shift = if missing < exponent { missing } else { exponent };
        // Adding the implicit one carries into the exponent field.
        ((exponent - shift) << self.mantissa_bits) + (significand << shift)
    }
}

/// `2^exponent` for exponents of normal `f64` numbers.
const fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent + F64_BIAS) as u64) << F64_MANTISSA_BITS)
}

/// `product + addend` rounded to odd: a later rounding to a format with at most
/// 51 significant bits gives what one rounding of the exact sum gives.
///
/// *Source*: Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums:
/// proved algorithms using rounding to odd", 2008.
#[cfg_attr(raddle_device, allow(dead_code))]
#[inline]
pub(crate) fn add_to_odd(product: f64, addend: f64) -> f64 {
    let sum = product + addend;
    // Knuth's exact error of the sum; it is NaN where the sum is not finite.
    let addend_part = sum - product;
    let error = (product - (sum - addend_part)) + (addend - addend_part);
    let bits = sum.to_bits();
    if error == 0.0 || error.is_nan() || bits & 1 == 1 {
        return sum;
    }
    // The sum's last bit is even: step to the odd neighbour on the error's side.
    let towards_zero = (error < 0.0) != (sum < 0.0);
    f64::from_bits(if towards_zero { bits - 1 } else { bits + 1 })
}
