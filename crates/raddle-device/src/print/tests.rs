//! The translation to `vprintf`, and the texts that threads make, against Rust's
//! own formatting.

use std::format;
use std::string::String;

use super::float::{float_text, parts_of_f32, parts_of_f64};
use super::translate::{Kind, Printable, Translation};
use super::value::{Text, Value};

fn translated(text: &str, kinds: &[Kind]) -> String {
    let format = Translation::new(text, kinds).format;
    let end = format.iter().position(|&byte| byte == 0).unwrap();
    String::from_utf8(format[..end].to_vec()).unwrap()
}

#[test]
fn formats_translate() {
    use Kind::{Float, Pointer, Signed, Text, Unsigned};
    let check = |text: &str, kinds: &[Kind], expected: &str| {
        assert_eq!(translated(text, kinds), expected, "{text}");
    };
    check("plain 100%\n", &[], "plain 100%%\n");
    check("{{}} {}", &[Signed(32)], "{} %lld");
    check(
        "{} {:?} {:x} {:X}",
        &[Unsigned(8), Signed(64), Signed(16), Unsigned(32)],
        "%llu %lld %llx %llX",
    );
    check(
        "[{:5}] [{:<5}] [{:>5}] [{:05}] [{:+}]",
        &[Signed(32); 5],
        "[%5lld] [%-5lld] [%5lld] [%05lld] [%+lld]",
    );
    check("{:#x} {:08x}", &[Unsigned(32); 2], "0x%llx %08llx");
    check("{} {:?} {:.3} {:8.2} {:08.1} {:6}", &[Float; 6], "%s %s %.3f %8.2f %08.1f %6s");
    check("{} {:6} {:>6} {:?}", &[Text; 4], "%s %-6s %6s %s");
    check("{:?}", &[Pointer], "%p");
}

#[test]
fn what_gpus_cannot_print_is_refused() {
    let refused = |text: &'static str, kinds: &'static [Kind]| {
        let error = std::panic::catch_unwind(|| translated(text, kinds)).unwrap_err();
        match error.downcast::<String>() {
            Ok(message) => *message,
            Err(error) => String::from(*error.downcast::<&str>().unwrap()),
        }
    };
    let int = &[Kind::Signed(32)];
    assert!(refused("{}", &[]).contains("more `{}` than arguments"));
    assert!(refused("", int).contains("more arguments than `{}`"));
    assert!(refused("{name}", int).contains("arguments by position"));
    assert!(refused("{:e}", &[Kind::Float]).contains("kernels know"));
    assert!(refused("{:^5}", int).contains("kernels know"));
    assert!(refused("{:.2}", int).contains("only floats have decimals"));
    assert!(refused("{:x}", &[Kind::Float]).contains("only integers"));
    assert!(refused("}", &[]).contains("without `{`"));
    assert!(refused("{:123}", int).contains("two digits"));
}

fn float_as<const DEBUG: bool>(parts: super::float::Parts) -> String {
    let mut text = Text::<64>::new();
    float_text(parts, DEBUG, &mut text);
    text.as_str().into()
}

fn check_f64(value: f64) {
    assert_eq!(float_as::<true>(parts_of_f64(value)), format!("{value:?}"));
    let found = float_as::<false>(parts_of_f64(value));
    let expected = if value != 0.0 && value.is_finite() && !(1e-20..1e40).contains(&value.abs()) {
        format!("{value:e}")
    } else {
        format!("{value}")
    };
    assert_eq!(found, expected);
}

fn check_f32(value: f32) {
    assert_eq!(float_as::<true>(parts_of_f32(value)), format!("{value:?}"));
    let found = float_as::<false>(parts_of_f32(value));
    let expected = if value != 0.0 && value.is_finite() && value.abs() < 1e-20 {
        format!("{value:e}")
    } else {
        format!("{value}")
    };
    assert_eq!(found, expected);
}

#[test]
fn floats_are_written_as_rust_writes_them() {
    let special = [
        0.0,
        1.0,
        0.1,
        0.3,
        1.5,
        100.0,
        1e15,
        1e16,
        1e17,
        123_456.789,
        1e-4,
        1e-5,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        9_007_199_254_740_993.0,
        2.0f64.powi(70),
        1e21,
        1e22,
        1e23,
        9.5,
        0.95,
        99.99,
        f64::INFINITY,
        f64::NAN,
        4.35,
        1e-20,
        9.999e-21,
        1e39,
        1e40,
    ];
    for value in special {
        check_f64(value);
        check_f64(-value);
        check_f32(value as f32);
        check_f32(-value as f32);
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..3000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        check_f64(f64::from_bits(state));
        check_f64((state >> 40) as f64 / 1000.0);
        check_f32(f32::from_bits((state >> 32) as u32));
    }
    for power in 0..=255u32 {
        check_f32(f32::from_bits(power << 23));
        check_f64(f64::from_bits(u64::from(power) << 54));
    }
}

fn word_of<T: Value + ?Sized>(value: &T, format: &str) -> u64 {
    value.word(Translation::new(format, &[T::KIND]).specs[0], &mut { T::EMPTY })
}

#[test]
fn integers_keep_their_width_in_base_16() {
    assert_eq!(word_of(&-1i32, "{}"), u64::MAX);
    assert_eq!(word_of(&-1i32, "{:x}"), 0xffff_ffff);
    assert_eq!(word_of(&-2i8, "{:x}"), 0xfe);
    assert_eq!(word_of(&200u8, "{}"), 200);
    assert_eq!(word_of(&u64::MAX, "{:x}"), u64::MAX);
    assert_eq!(word_of(&i64::MIN, "{:x}"), 1 << 63);
    assert_eq!(word_of(&1.5f32, "{:.2}"), 1.5f64.to_bits());
}

#[test]
fn text_is_escaped_and_cut() {
    fn text<T: Value<Text = Text<N>> + ?Sized, const N: usize>(value: &T, format: &str) -> String {
        let mut text = T::EMPTY;
        value.word(Translation::new(format, &[<T as Printable>::KIND]).specs[0], &mut text);
        text.as_str().into()
    }
    assert_eq!(text("tab\there \"é\"", "{}"), "tab\there \"é\"");
    assert_eq!(text("tab\there \"é\"", "{:?}"), format!("{:?}", "tab\there \"é\""));
    assert_eq!(text(&'\'', "{:?}"), "'\\''");
    assert_eq!(text(&'é', "{}"), "é");
    assert_eq!(text("x".repeat(300).as_str(), "{}").len(), 127);
}
