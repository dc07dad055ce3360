//! Floats as the shortest decimal that reads back as the same float, exactly:
//! Steele and White's algorithm on whole numbers of up to 1280 bits. Slow, small,
//! and right.
//!
//! *Source*: G. L. Steele and J. L. White, "How to Print Floating-Point Numbers
//! Accurately", 1990.

use super::value::Text;

/// A float taken apart.
#[derive(Clone, Copy)]
pub(super) enum Parts {
    Nan,
    Infinite {
        is_negative: bool,
    },
    Finite {
        is_negative: bool,
        /// The value is `mantissa * 2^exponent`.
        mantissa: u64,
        exponent: i32,
        /// The next float below is half as far as the one above.
        is_lower_closer: bool,
    },
}

macro_rules! parts {
    ($($name:ident: $ty:ty, $mantissa_bits:literal, $exponent_bits:literal;)*) => { $(
        pub(super) fn $name(value: $ty) -> Parts {
            let bits = u64::from(value.to_bits());
            let is_negative = bits >> ($mantissa_bits + $exponent_bits) != 0;
            let fraction = bits & ((1 << $mantissa_bits) - 1);
            let biased = (bits >> $mantissa_bits) as i32 & ((1 << $exponent_bits) - 1);
            let bias = (1 << ($exponent_bits - 1)) - 1 + $mantissa_bits;
            match biased {
                _ if biased == (1 << $exponent_bits) - 1 && fraction != 0 => Parts::Nan,
                _ if biased == (1 << $exponent_bits) - 1 => Parts::Infinite { is_negative },
                0 => Parts::Finite {
                    is_negative,
                    mantissa: fraction,
                    exponent: 1 - bias,
                    is_lower_closer: false,
                },
                _ => Parts::Finite {
                    is_negative,
                    mantissa: fraction | 1 << $mantissa_bits,
                    exponent: biased - bias,
                    is_lower_closer: fraction == 0 && biased > 1,
                },
            }
        }
    )* };
}
parts!(parts_of_f32: f32, 23, 8; parts_of_f64: f64, 52, 11;);

/// Writes a float as `{}` or, if `is_debug`, `{:?}` does.
#[inline(never)]
pub(super) fn float_text<const N: usize>(parts: Parts, is_debug: bool, text: &mut Text<N>) {
    let (is_negative, mantissa, exponent, is_lower_closer) = match parts {
        Parts::Nan => return text.push_all(b"NaN"),
        Parts::Infinite { is_negative } => {
            return text.push_all(if is_negative { b"-inf" } else { b"inf" });
        }
        Parts::Finite { is_negative, mantissa, exponent, is_lower_closer } => {
            (is_negative, mantissa, exponent, is_lower_closer)
        }
    };
    if is_negative {
        text.push(b'-');
    }
    if mantissa == 0 {
        return text.push_all(if is_debug { b"0.0" } else { b"0" });
    }
    let (digits, len, point) = shortest(mantissa, exponent, is_lower_closer);
    let digits = digits.get(..len).unwrap_or(&digits);
    // As `core` does for `{:?}`; `{}` has no exponents, but finite space here.
    let plain = if is_debug { -3..=16 } else { -19..=40 };
    if plain.contains(&point) {
        push_plain(digits, point, is_debug, text);
    } else {
        push_scientific(digits, point, text);
    }
}

/// `0.d1d2… * 10^point` without an exponent.
fn push_plain<const N: usize>(digits: &[u8], point: i32, is_debug: bool, text: &mut Text<N>) {
    if point <= 0 {
        text.push_all(b"0.");
        for _ in point..0 {
            text.push(b'0');
        }
        return text.push_all(digits);
    }
    let mut place = 0;
    for &digit in digits {
        if place == point {
            text.push(b'.');
        }
        text.push(digit);
        place += 1;
    }
    while place < point {
        text.push(b'0');
        place += 1;
    }
    if place == point && is_debug && digits.len() <= point as usize {
        text.push_all(b".0");
    }
}

/// `d1.d2… * 10^(point - 1)` with an exponent.
fn push_scientific<const N: usize>(digits: &[u8], point: i32, text: &mut Text<N>) {
    for (place, &digit) in digits.iter().enumerate() {
        if place == 1 {
            text.push(b'.');
        }
        text.push(digit);
    }
    text.push(b'e');
    let exponent = point - 1;
    if exponent < 0 {
        text.push(b'-');
    }
    let exponent = exponent.unsigned_abs();
    let digit = |value: u32| b'0' + (value % 10) as u8;
    if exponent >= 100 {
        text.push(digit(exponent / 100));
    }
    if exponent >= 10 {
        text.push(digit(exponent / 10));
    }
    text.push(digit(exponent));
}

/// Digits (as ASCII), their number, and the place of the point: the value is
/// `0.d1d2… * 10^point`.
fn shortest(mantissa: u64, exponent: i32, is_lower_closer: bool) -> ([u8; 20], usize, i32) {
    // value = rest / scale; half the gaps to the neighbours are above / scale and
    // below / scale.
    let extra = if is_lower_closer { 2 } else { 1 };
    let (mut rest, mut scale) = (Whole::new(mantissa), Whole::new(1));
    let (mut above, mut below) = (Whole::new(1), Whole::new(1));
    let (up, down) = (exponent.max(0) as u32, (-exponent).max(0) as u32);
    rest.shift_left(up + extra);
    scale.shift_left(down + extra);
    above.shift_left(up + extra - 1);
    below.shift_left(up);
    // Ties belong to floats with an even mantissa.
    let is_even = mantissa.is_multiple_of(2);
    let mut point = 0;
    let reaches = |rest: &Whole, above: &Whole, scale: &Whole| {
        let sum = rest.plus(above);
        if is_even { !sum.is_less(scale) } else { scale.is_less(&sum) }
    };
    while reaches(&rest, &above, &scale) {
        scale.times(10);
        point += 1;
    }
    loop {
        let (mut ten_rest, mut ten_above) = (rest, above);
        ten_rest.times(10);
        ten_above.times(10);
        if reaches(&ten_rest, &ten_above, &scale) {
            break;
        }
        (rest, above) = (ten_rest, ten_above);
        below.times(10);
        point -= 1;
    }
    let (mut digits, mut len) = ([b'0'; 20], 0);
    loop {
        rest.times(10);
        above.times(10);
        below.times(10);
        let mut digit = b'0';
        while !rest.is_less(&scale) {
            rest.minus(&scale);
            digit += 1;
        }
        let may_round_down = if is_even { !below.is_less(&rest) } else { rest.is_less(&below) };
        let may_round_up = reaches(&rest, &above, &scale);
        if may_round_down || may_round_up {
            let is_nearer_above = !rest.plus(&rest).is_less(&scale);
            digit += u8::from(may_round_up && (!may_round_down || is_nearer_above));
        }
        if let Some(place) = digits.get_mut(len) {
            *place = digit;
        }
        len += 1;
        if may_round_down || may_round_up || len == digits.len() {
            return (digits, len, point);
        }
    }
}

/// Words of a [`Whole`]: 1280 bits hold `2^1077 * 10` and `2^55 * 10^325`.
const WORDS: usize = 40;

/// A whole number, lowest word first.
#[derive(Clone, Copy)]
struct Whole([u32; WORDS]);

impl Whole {
    fn new(value: u64) -> Self {
        let mut words = [0; WORDS];
        words[0] = value as u32;
        words[1] = (value >> 32) as u32;
        Self(words)
    }

    fn times(&mut self, factor: u32) {
        let mut carry = 0;
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
    }

    fn shift_left(&mut self, bits: u32) {
        for _ in 0..bits / 31 {
            self.times(1 << 31);
        }
        self.times(1 << (bits % 31));
    }

    fn plus(&self, other: &Self) -> Self {
        let (mut sum, mut carry) = (*self, 0);
        for (word, &other) in sum.0.iter_mut().zip(&other.0) {
            let total = u64::from(*word) + u64::from(other) + carry;
            *word = total as u32;
            carry = total >> 32;
        }
        sum
    }

    /// Subtracts a number that is not greater.
    fn minus(&mut self, other: &Self) {
        let mut borrow = 0;
        for (word, &other) in self.0.iter_mut().zip(&other.0) {
            let difference = i64::from(*word) - i64::from(other) + borrow;
            *word = difference as u32;
            borrow = difference >> 32;
        }
    }

    fn is_less(&self, other: &Self) -> bool {
        for (word, other) in self.0.iter().zip(&other.0).rev() {
            if word != other {
                return word < other;
            }
        }
        false
    }
}
