//! What [`decode`] makes of the device's form of a value is what `core` writes, and
//! what the device's code makes of `core`'s own `fmt::Arguments` is that form.

use core::fmt::{self, Debug, Display, Formatter, LowerExp, LowerHex};
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use super::{BEGIN, BREAK, END, Options, decode};
use crate::device_format;
use crate::kernel::PanicRecord;

/// A value as the device writes it.
fn sent(ty: char, style: char, options: Option<Options>, digits: &str) -> String {
    let options = options
        .map_or("0".to_string(), |o| format!("1{:08x}{:04x}{:04x}", o.flags, o.width, o.precision));
    format!("{BEGIN}{ty}{style}{options}{digits}")
}

fn said(text: &str) -> String {
    decode(text.as_bytes(), text.len())
}

/// `core`'s encoding of placeholders' options.
fn options(flags: u32, width: Option<u16>, precision: Option<u16>) -> Option<Options> {
    let has = |is_there: bool, flag: u32| if is_there { flag } else { 0 };
    Some(Options {
        flags: ' ' as u32
            | flags
            | has(width.is_some(), Options::WIDTH)
            | has(precision.is_some(), Options::PRECISION),
        width: width.unwrap_or(0),
        precision: precision.unwrap_or(0),
    })
}

const UNALIGNED: u32 = Options::ALIGN_UNKNOWN;

#[test]
fn integers() {
    assert_eq!(said(&sent('a', 'D', None, "ff")), format!("{}", 255u8));
    assert_eq!(said(&sent('f', 'D', None, "80")), format!("{}", i8::MIN));
    assert_eq!(said(&sent('j', '?', None, &"f".repeat(32))), format!("{:?}", -1i128));
    assert_eq!(
        said(&sent('j', 'D', None, &format!("8{}", "0".repeat(31)))),
        format!("{}", i128::MIN)
    );
    assert_eq!(said(&sent('f', 'x', None, "80")), format!("{:x}", i8::MIN));
    let of = |flags: u32, width: Option<u16>| options(flags, width, None);
    let shown = [
        (
            sent('h', 'D', of(UNALIGNED | Options::SIGN_PLUS, Some(8)), "0000002a"),
            format!("{:+8}", 42),
        ),
        (
            sent('h', 'D', of(UNALIGNED | Options::ZERO_PAD, Some(8)), "ffffffd6"),
            format!("{:08}", -42),
        ),
        (
            sent(
                'c',
                'x',
                of(UNALIGNED | Options::ZERO_PAD | Options::ALTERNATE, Some(8)),
                "0000002a",
            ),
            format!("{:#08x}", 42u32),
        ),
        (sent('c', 'b', of(Options::ALIGN_CENTER, Some(9)), "0000002a"), format!("{:^9b}", 42u32)),
        (sent('c', 'o', of(Options::ALIGN_LEFT, Some(9)), "0000002a"), format!("{:<9o}", 42u32)),
        (
            sent('c', '?', of(UNALIGNED | Options::DEBUG_UPPER_HEX, None), "000000ab"),
            format!("{:X?}", 0xABu32),
        ),
        (
            sent('c', 'e', options(UNALIGNED, None, Some(2)), "00003039"),
            format!("{:.2e}", 12345u32),
        ),
    ];
    for (sent, expected) in shown {
        assert_eq!(said(&sent), expected);
    }
}

#[test]
fn floats() {
    let values =
        [0.0, -0.0, 1.0, -2.5, 0.1, 1e-7, 1e16, 3.4e38, f32::NAN, f32::INFINITY, -f32::INFINITY];
    for value in values {
        let digits = format!("{:08x}", value.to_bits());
        let wide = format!("{:016x}", f64::from(value).to_bits());
        let plus = options(UNALIGNED | Options::SIGN_PLUS, Some(12), Some(3));
        let zeros = options(UNALIGNED | Options::ZERO_PAD, Some(12), None);
        assert_eq!(said(&sent('k', 'D', None, &digits)), format!("{value}"));
        assert_eq!(said(&sent('k', '?', None, &digits)), format!("{value:?}"));
        assert_eq!(said(&sent('l', '?', None, &wide)), format!("{:?}", f64::from(value)));
        assert_eq!(said(&sent('k', 'e', None, &digits)), format!("{value:e}"));
        assert_eq!(said(&sent('k', 'D', plus, &digits)), format!("{value:+12.3}"));
        assert_eq!(said(&sent('k', 'D', zeros, &digits)), format!("{value:012}"));
        assert_eq!(said(&sent('k', '?', zeros, &digits)), format!("{value:012?}"));
    }
}

#[test]
fn text() {
    assert_eq!(said(&sent('m', 'D', None, "01")), "true");
    assert_eq!(said(&sent('n', '?', None, "0000000a")), format!("{:?}", '\n'));
    assert_eq!(said(&sent('o', '?', None, "")), "()");
    let quoted = sent('s', '?', None, &format!("a\"b{BREAK}é{END} and so on"));
    assert_eq!(said(&quoted), format!("{:?} and so on", "a\"b\né"));
    let padded = sent('s', 'D', options(Options::ALIGN_RIGHT, Some(6), Some(3)), "äbcdef");
    assert_eq!(said(&format!("[{padded}{END}]")), format!("[{:>6.3}]", "äbcdef"));
    let values: Vec<String> = [1u8, 2].map(|v| sent('a', 'D', None, &format!("{v:02x}"))).into();
    assert_eq!(said(&format!("{} of {}", values[0], values[1])), "1 of 2");
}

#[test]
fn cut_messages_say_so() {
    let whole = format!("value {}", sent('c', 'D', None, "0000002a"));
    let mark = "… (cut: a kernel's message holds";
    for len in 0..whole.len() {
        let shown = decode(&whole.as_bytes()[..len], whole.len());
        assert!(shown.contains(&format!("{mark} {len} bytes)")), "{shown}");
        assert!(shown.starts_with(&"value "[..len.min(6)]), "{shown}");
        assert!(!shown.contains(BEGIN) && !shown.contains('\u{FFFD}'), "{shown}");
    }
    assert_eq!(decode(whole.as_bytes(), whole.len()), "value 42");
}

#[test]
fn what_is_malformed_stays() {
    for text in ["\u{FDD0}", "\u{FDD0}zz0", "\u{FDD0}cD0xyz", "a\u{FDD0}s?0no end"] {
        assert_eq!(said(text), text);
    }
    assert_eq!(decode(b"\xff", 1), "\u{FFFD}");
}

/// What `raddle-build` answers on the device, for the functions used below.
#[unsafe(no_mangle)]
extern "C" fn __raddle_format_code(formatter: *const u8) -> u32 {
    fn address<T>(formatter: fn(&T, &mut Formatter<'_>) -> fmt::Result) -> usize {
        formatter as usize
    }
    macro_rules! known {
        ($($trait:ident $ty:ty: $code:expr),*) => {
            [$((address::<$ty>(<$ty as $trait>::fmt), $code)),*]
        };
    }
    let known = known![
        Display u32: 0x4463, Display usize: 0x4464, Display i8: 0x4466, Debug i8: 0x3f66,
        Display i128: 0x446a, Debug u32: 0x3f63, LowerHex u32: 0x7863, LowerExp f64: 0x656c,
        Display f32: 0x446b, Debug f64: 0x3f6c, Debug bool: 0x3f6d, Debug char: 0x3f6e,
        Debug (): 0x3f6f, Display &str: 0x1_4473, Debug &str: 0x1_3f73, Debug &&i8: 0x2_3f66
    ];
    let address = formatter.addr();
    known.iter().find(|(known, _)| *known == address).map_or(0, |&(_, code)| code)
}

/// The message that the host gets when a kernel panics with these arguments.
fn panics(arguments: fmt::Arguments<'_>) -> String {
    // SAFETY: a record is plain numbers.
    let mut record: PanicRecord = unsafe { core::mem::zeroed() };
    // SAFETY: the record is this function's; an `Arguments` is two words, in the order
    // that the build's rewrite assumes as well.
    unsafe {
        let (template, args) = core::mem::transmute::<fmt::Arguments<'_>, (_, _)>(arguments);
        let text = device_format::Text::of(&raw mut record);
        device_format::__raddle_rt_write_arguments(text, template, args);
    }
    decode(&record.message, record.message_len as usize)
}

#[test]
fn the_device_walks_what_this_toolchain_makes() {
    let (i, f, name, width) = (core::hint::black_box(42u32), 0.1f64, "gr\"ün", 9usize);
    macro_rules! check {
        ($($format:literal $(, $argument:expr)*;)*) => { $(
            assert_eq!(panics(format_args!($format $(, $argument)*)), format!($format $(, $argument)*));
        )* };
    }
    check! {
        "nothing to see";
        "{} and {}, {1} {0}", i, -3i8;
        "{i:5}|{i:<5}|{i:^5}|{i:>5}|{i:05}|{i:+}|{i:#x}|{i:#010x}|{i:x?}";
        "{i:width$}|{i:>1$}|{:*^1$}", i, 7;
        "{f:?} {f:e} {:.3} {:8.1} {:.*}", 2.5f32, -2.5f32, 2, 1.0f32;
        "{:?} {:?} {:?} {:?}", true, 'é', (), '\n';
        "{name} {name:?} {name:>8} {name:.2}";
        "{:?} {}", &&-5i8, i128::MIN;
    }
    let long = "x".repeat(300);
    let long = long.as_str();
    let shown = panics(format_args!("{long}{i}{long}"));
    assert!(shown.starts_with(&format!("{long}42xxx")), "{shown}");
    assert!(shown.ends_with("… (cut: a kernel's message holds 512 bytes)"), "{shown}");
}

/// A value that is formatted through `core::fmt` on the device.
struct Sent<'a, T>(u32, &'a T);

impl<T> Display for Sent<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // SAFETY: the tests below name the types' codes.
        unsafe { device_format::__raddle_rt_fmt_value(f, self.0, (&raw const *self.1).cast()) }
    }
}

/// A string that is.
struct SentText<'a>(&'a str);

impl Debug for SentText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        device_format::__raddle_rt_fmt_str(self.0, f)
    }
}

impl Display for SentText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        device_format::__raddle_rt_fmt_pad(f, self.0)
    }
}

#[test]
fn formatters_pass_their_options_on() {
    let (i, f) = (Sent(0x4468, &-42i32), Sent(0x446b, &2.5f32));
    let through = |text: String| said(&text);
    assert_eq!(through(format!("{i:+06}|{i:<5}|{i:_^7}")), format!("{0:+06}|{0:<5}|{0:_^7}", -42));
    assert_eq!(through(format!("{f:8.3}|{f:+}|{f}")), format!("{0:8.3}|{0:+}|{0}", 2.5f32));
    let hex = Sent(0x7863, &0xABu32);
    assert_eq!(through(format!("{hex:#010}")), format!("{:#010x}", 0xAB));
    let text = SentText("a\nb\"ü");
    assert_eq!(
        through(format!("{text}|{text:>8}|{text:.2}")),
        format!("{0}|{0:>8}|{0:.2}", text.0)
    );
    assert_eq!(through(format!("{:#?}", Some(text))), format!("{:#?}", Some("a\nb\"ü")));
}
