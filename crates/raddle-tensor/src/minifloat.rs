//! Floats of eight and four bits: tables of values, rounding to nearest even.
//!
//! The codes of positive finite values grow with the value, so encoding is a
//! search among the decoded values and needs no bit tricks per format.
//! Source: ONNX, "Float stored in 8 bits" and "Float stored in 4 bits"; OCP
//! Microscaling Formats (MX) 1.0.

use std::sync::LazyLock;

use crate::DType;

/// One format, described by its bits.
struct Format {
    exponent_bits: u32,
    mantissa_bits: u32,
    bias: i32,
    specials: Specials,
}

/// Which codes are no finite numbers.
#[derive(PartialEq)]
enum Specials {
    /// As in IEEE 754: the largest exponent holds infinity and NaN.
    Ieee,
    /// Only the code with all bits set is NaN; there is no infinity.
    AllOnes,
    /// The code of negative zero is NaN; there is no infinity.
    NegativeZero,
    /// Every code is a number.
    None,
}

/// Values of all codes of a format and the search table for encoding.
struct Codec {
    values: [f32; 256],
    /// Codes 0..finite are the non-negative finite values in ascending order.
    finite: usize,
    sign_bit: u8,
    infinity: Option<u8>,
    nan: Option<u8>,
    has_negative_zero: bool,
}

impl Codec {
    fn new(format: &Format) -> Self {
        let Format { exponent_bits, mantissa_bits, bias, ref specials } = *format;
        let sign_bit = 1u8 << (exponent_bits + mantissa_bits);
        let positive = usize::from(sign_bit);
        let mut values = [f32::NAN; 256];
        let finite = match specials {
            Specials::Ieee => positive - (1 << mantissa_bits),
            Specials::AllOnes => positive - 1,
            Specials::NegativeZero | Specials::None => positive,
        };
        for code in 0..finite {
            let mantissa = (code & ((1 << mantissa_bits) - 1)) as f32;
            let exponent = (code >> mantissa_bits) as i32;
            let scale = 2f32.powi(exponent.max(1) - bias - mantissa_bits as i32);
            let hidden = if exponent == 0 { 0.0 } else { (1 << mantissa_bits) as f32 };
            values[code] = (hidden + mantissa) * scale;
            values[positive + code] = -values[code];
        }
        let infinity = (*specials == Specials::Ieee).then_some(finite as u8);
        if infinity.is_some() {
            values[finite] = f32::INFINITY;
            values[positive + finite] = f32::NEG_INFINITY;
        }
        let nan = match specials {
            Specials::Ieee => Some(sign_bit - (1 << (mantissa_bits - 1))),
            Specials::AllOnes => Some(sign_bit - 1),
            Specials::NegativeZero => Some(sign_bit),
            Specials::None => None,
        };
        if *specials == Specials::NegativeZero {
            values[positive] = f32::NAN;
        }
        let has_negative_zero = *specials != Specials::NegativeZero;
        Self { values, finite, sign_bit, infinity, nan, has_negative_zero }
    }

    fn encode(&self, value: f32, saturates: bool) -> u8 {
        let sign = if value.is_sign_negative() { self.sign_bit } else { 0 };
        let largest = (self.finite - 1) as u8;
        if value.is_nan() {
            return self.nan.map_or(0, |nan| if nan == self.sign_bit { nan } else { nan | sign });
        }
        let magnitude = value.abs();
        let positive = &self.values[..self.finite];
        let above = positive.partition_point(|&candidate| candidate < magnitude);
        let code = if above == self.finite {
            // Past the largest value: half a step more still rounds down to it.
            let top = positive[self.finite - 1];
            let step = top - positive[self.finite - 2];
            let rounds_down = magnitude < top + step / 2.0
                || (magnitude == top + step / 2.0 && largest.is_multiple_of(2));
            match (rounds_down || saturates, self.infinity, self.nan) {
                (true, _, _) => largest,
                (false, Some(infinity), _) => infinity,
                (false, None, Some(nan)) if nan == self.sign_bit => return nan,
                (false, None, Some(nan)) => nan,
                (false, None, None) => largest,
            }
        } else if above == 0 {
            0
        } else {
            let low = magnitude - positive[above - 1];
            let high = positive[above] - magnitude;
            let takes_low = low < high || (low == high && (above - 1).is_multiple_of(2));
            (if takes_low { above - 1 } else { above }) as u8
        };
        if code == 0 && !self.has_negative_zero { 0 } else { code | sign }
    }
}

static CODECS: LazyLock<[Codec; 5]> = LazyLock::new(|| {
    let format = |exponent_bits, mantissa_bits, bias, specials| {
        Codec::new(&Format { exponent_bits, mantissa_bits, bias, specials })
    };
    [
        format(4, 3, 7, Specials::AllOnes),
        format(4, 3, 8, Specials::NegativeZero),
        format(5, 2, 15, Specials::Ieee),
        format(5, 2, 16, Specials::NegativeZero),
        format(2, 1, 1, Specials::None),
    ]
});

fn codec(dtype: DType) -> Option<&'static Codec> {
    let at = match dtype {
        DType::F8E4M3FN => 0,
        DType::F8E4M3FNUZ => 1,
        DType::F8E5M2 => 2,
        DType::F8E5M2FNUZ => 3,
        DType::F4E2M1 => 4,
        _ => return None,
    };
    Some(&CODECS[at])
}

/// Values of all 256 codes of a float type of at most eight bits; `None` for
/// other types.
pub fn values(dtype: DType) -> Option<[f32; 256]> {
    if dtype == DType::F8E8M0 {
        let value = |code: usize| if code == 255 { f32::NAN } else { 2f32.powi(code as i32 - 127) };
        return Some(std::array::from_fn(value));
    }
    codec(dtype).map(|codec| codec.values)
}

/// The code of the nearest value, ties to even.
///
/// A value past the largest becomes the largest if `saturates`, and infinity or
/// NaN, whichever the format has, if not. `dtype` must be a type that
/// [`values`] knows.
pub fn encode(value: f32, dtype: DType, saturates: bool) -> u8 {
    match codec(dtype) {
        Some(codec) => codec.encode(value, saturates),
        None => encode_exponent(value, ExponentRounding::Up),
    }
}

/// How `float8e8m0` rounds to a power of two (`round_mode` of ONNX's Cast).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ExponentRounding {
    Up,
    Down,
    Nearest,
}

/// The `float8e8m0` code of a positive value; NaN's for values that are not positive.
pub fn encode_exponent(value: f32, rounding: ExponentRounding) -> u8 {
    if value.is_nan() {
        return 255;
    }
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as u8;
    let mantissa = bits & 0x7f_ffff;
    let rounds_up = match rounding {
        ExponentRounding::Up => mantissa > 0,
        ExponentRounding::Down => false,
        ExponentRounding::Nearest => mantissa >= 0x40_0000,
    };
    if rounds_up && exponent < 254 { exponent + 1 } else { exponent.min(254) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_encodes_to_its_code() {
        for dtype in [DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ] {
            let values = values(dtype).unwrap();
            for (code, &value) in values.iter().enumerate() {
                let back = encode(value, dtype, false);
                if value.is_nan() {
                    assert!(values[usize::from(back)].is_nan(), "{dtype} {code}");
                } else {
                    assert_eq!(usize::from(back), code, "{dtype} {value}");
                }
            }
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(values(DType::F8E4M3FN).unwrap()[0x7e], 448.0);
        assert_eq!(values(DType::F8E5M2).unwrap()[0x7b], 57344.0);
        assert_eq!(values(DType::F4E2M1).unwrap()[..8], [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
        assert_eq!(encode(1e6, DType::F8E4M3FN, true), 0x7e);
        assert_eq!(encode(1e6, DType::F8E4M3FN, false), 0x7f);
        assert_eq!(encode(1e6, DType::F8E5M2, false), 0x7c);
    }
}
