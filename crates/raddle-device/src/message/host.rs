//! The host's half of [`crate::message`]: from bits to the text that `core` would
//! have written.

use std::borrow::ToOwned;
use std::format;
use std::string::String;

use super::{BEGIN, BREAK, END, Options, SCALARS};

/// The text of a message of which `bytes` are the first bytes and `len` is the length
/// that it had on the device.
///
/// A message that was cut says so at its end. What is not in the form that the device
/// writes is left as it is.
#[must_use]
pub fn decode(bytes: &[u8], len: usize) -> String {
    let raw = String::from_utf8_lossy(&bytes[..bytes.len().min(len)]);
    // A cut may have gone through a character.
    let mut rest = if len > bytes.len() { raw.trim_end_matches('\u{FFFD}') } else { &raw };
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = rest.find(BEGIN) {
        text.push_str(&rest[..at]);
        let after = &rest[at + BEGIN.len()..];
        match value(after) {
            Some((shown, used)) => {
                text.push_str(&shown);
                rest = &after[used..];
            }
            // Half a value, at the end of a message that was cut.
            None if len > bytes.len() => rest = "",
            None => {
                text.push_str(BEGIN);
                rest = after;
            }
        }
    }
    text.push_str(rest);
    if len > bytes.len() {
        text.push_str(&format!("… (cut: a kernel's message holds {} bytes)", bytes.len()));
    }
    text
}

/// The value that `text` begins with, formatted, and how many bytes it takes.
fn value(text: &str) -> Option<(String, usize)> {
    let [ty, style, has_options, ..] = *text.as_bytes() else { return None };
    let mut at = 3;
    let mut options = Options::DEFAULT;
    if has_options == b'1' {
        options.flags = hex(text, &mut at, 8)? as u32;
        options.width = hex(text, &mut at, 4)? as u16;
        options.precision = hex(text, &mut at, 4)? as u16;
    }
    if ty == b's' {
        let inner = text.get(at..)?;
        let (inner, _) = inner.split_once(END)?;
        let used = at + inner.len() + END.len();
        let shown = if style == b'?' {
            format!("{:?}", inner.replace(BREAK, "\n"))
        } else {
            pad(inner, &options)
        };
        return Some((shown, used));
    }
    let (_, size) = SCALARS.iter().find(|(letter, _)| *letter == ty)?;
    let bits = hex(text, &mut at, 2 * usize::from(*size))?;
    Some((scalar(ty, style, bits, &options)?, at))
}

fn hex(text: &str, at: &mut usize, digits: usize) -> Option<u128> {
    let end = *at + digits;
    let word = text.get(*at..end)?;
    *at = end;
    if digits == 0 { Some(0) } else { u128::from_str_radix(word, 16).ok() }
}

fn scalar(ty: u8, style: u8, bits: u128, options: &Options) -> Option<String> {
    Some(match ty {
        b'a'..=b'e' => integer(bits, 0, style, options),
        b'f' => integer(bits, 8, style, options),
        b'g' => integer(bits, 16, style, options),
        b'h' => integer(bits, 32, style, options),
        b'i' => integer(bits, 64, style, options),
        b'j' => integer(bits, 128, style, options),
        b'k' => f32_text(f32::from_bits(bits as u32), style, options),
        b'l' => f64_text(f64::from_bits(bits as u64), style, options),
        b'm' => pad(if bits == 0 { "false" } else { "true" }, options),
        b'n' => {
            let c = char::from_u32(bits as u32)?;
            if style == b'?' { format!("{c:?}") } else { pad(c.encode_utf8(&mut [0; 4]), options) }
        }
        b'o' => pad("()", options),
        _ => return None,
    })
}

/// An integer; `signed_bits` is its width if it is signed, else 0.
fn integer(bits: u128, signed_bits: u32, style: u8, options: &Options) -> String {
    let has = |flag: u32| options.flags & flag != 0;
    let style = match style {
        b'?' if has(Options::DEBUG_LOWER_HEX) => b'x',
        b'?' if has(Options::DEBUG_UPPER_HEX) => b'X',
        b'?' => b'D',
        style => style,
    };
    let is_decimal = matches!(style, b'D' | b'e' | b'E');
    let is_negative = is_decimal && signed_bits > 0 && bits >> (signed_bits - 1) & 1 == 1;
    let magnitude = if is_negative {
        let value = (bits << (128 - signed_bits)).cast_signed() >> (128 - signed_bits);
        value.unsigned_abs()
    } else {
        bits
    };
    let precision = has(Options::PRECISION).then_some(usize::from(options.precision));
    let (prefix, digits) = match (style, precision) {
        (b'x', _) => ("0x", format!("{magnitude:x}")),
        (b'X', _) => ("0x", format!("{magnitude:X}")),
        (b'o', _) => ("0o", format!("{magnitude:o}")),
        (b'b', _) => ("0b", format!("{magnitude:b}")),
        (b'e', None) => ("", format!("{magnitude:e}")),
        (b'e', Some(precision)) => ("", format!("{magnitude:.precision$e}")),
        (b'E', None) => ("", format!("{magnitude:E}")),
        (b'E', Some(precision)) => ("", format!("{magnitude:.precision$E}")),
        _ => ("", format!("{magnitude}")),
    };
    let prefix = if has(Options::ALTERNATE) { prefix } else { "" };
    number(is_negative, prefix, &digits, options)
}

macro_rules! float_text {
    ($name:ident $ty:ty) => {
        fn $name(value: $ty, style: u8, options: &Options) -> String {
            let is_precise = options.flags & Options::PRECISION != 0;
            let precision = usize::from(options.precision);
            let magnitude = value.abs();
            let digits = match (style, is_precise) {
                (b'?', true) => format!("{magnitude:.precision$?}"),
                (b'?', false) => format!("{magnitude:?}"),
                (b'e', true) => format!("{magnitude:.precision$e}"),
                (b'e', false) => format!("{magnitude:e}"),
                (b'E', true) => format!("{magnitude:.precision$E}"),
                (b'E', false) => format!("{magnitude:E}"),
                (_, true) => format!("{magnitude:.precision$}"),
                (_, false) => format!("{magnitude}"),
            };
            if value.is_nan() {
                // A NaN has no sign in text, whatever was asked for.
                let unsigned = Options { flags: options.flags & !Options::SIGN_PLUS, ..*options };
                return number(false, "", &digits, &unsigned);
            }
            number(value.is_sign_negative(), "", &digits, options)
        }
    };
}

float_text!(f32_text f32);
float_text!(f64_text f64);

/// Sign, prefix and digits, padded as numbers are: on the left, or with zeros after
/// the sign and the prefix.
fn number(is_negative: bool, prefix: &str, digits: &str, options: &Options) -> String {
    let has = |flag: u32| options.flags & flag != 0;
    let sign = match is_negative {
        true => "-",
        false if has(Options::SIGN_PLUS) => "+",
        false => "",
    };
    let width = if has(Options::WIDTH) { usize::from(options.width) } else { 0 };
    if has(Options::ZERO_PAD) {
        let zeros = width.saturating_sub(sign.len() + prefix.len() + digits.chars().count());
        return format!("{sign}{prefix}{}{digits}", "0".repeat(zeros));
    }
    fill(&format!("{sign}{prefix}{digits}"), Options::ALIGN_RIGHT, options)
}

/// A string as `Formatter::pad` writes it.
fn pad(text: &str, options: &Options) -> String {
    let shown: String = if options.flags & Options::PRECISION != 0 {
        text.chars().take(usize::from(options.precision)).collect()
    } else {
        text.to_owned()
    };
    fill(&shown, Options::ALIGN_LEFT, options)
}

fn fill(text: &str, alignment_if_unknown: u32, options: &Options) -> String {
    const ALIGNMENT: u32 = 3 << 29;
    const CHARACTER: u32 = (1 << 21) - 1;
    if options.flags & Options::WIDTH == 0 {
        return text.to_owned();
    }
    let missing = usize::from(options.width).saturating_sub(text.chars().count());
    let alignment = match options.flags & ALIGNMENT {
        Options::ALIGN_UNKNOWN => alignment_if_unknown,
        known => known,
    };
    let before = match alignment {
        Options::ALIGN_LEFT => 0,
        Options::ALIGN_CENTER => missing / 2,
        _ => missing,
    };
    let character = char::from_u32(options.flags & CHARACTER).unwrap_or(' ');
    let repeat = |count: usize| core::iter::repeat_n(character, count).collect::<String>();
    format!("{}{text}{}", repeat(before), repeat(missing - before))
}
