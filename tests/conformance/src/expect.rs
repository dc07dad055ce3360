//! The expected values in a program's trailing comments: written, read, compared.
//!
//! ```text
//! // expect: 0 3 8 15 24 35 48 63
//! // hash: 0x1234… of 64 answers
//! ```
//!
//! `expect` holds the answers of the first threads, several words joined by commas;
//! `hash` covers the words of all threads. Programs with a tolerance list every
//! answer and have no hash, since their last bits may differ between devices.

use crate::answer::{Kind, Words};

/// Answers listed for exact programs.
const SHOWN: usize = 8;

/// The trailing comment for these answers.
#[must_use]
pub fn render(answers: &[Words], kinds: &[Kind], ulp: u32) -> String {
    let shown = if ulp == 0 { SHOWN.min(answers.len()) } else { answers.len() };
    let mut text = String::new();
    let mut line = String::from("// expect:");
    for answer in &answers[..shown] {
        let answer = show(answer, kinds);
        if line.len() + 1 + answer.len() > 99 && line.len() > 10 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("// expect:");
        }
        line.push(' ');
        line.push_str(&answer);
    }
    text.push_str(&line);
    text.push('\n');
    if ulp == 0 {
        text.push_str(&format!("// hash: {:#018x} of {} answers\n", hash(answers), answers.len()));
    }
    text
}

/// One answer as it stands in a file.
#[must_use]
pub fn show(answer: &Words, kinds: &[Kind]) -> String {
    let mut text = String::new();
    for (&word, kind) in answer.iter().zip(kinds) {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&match kind {
            Kind::Unsigned if word < 10_000_000 => word.to_string(),
            Kind::Unsigned => format!("{word:#x}"),
            Kind::Signed => (word as i64).to_string(),
            Kind::F32 => format!("{:?}", f32::from_bits(word as u32)),
            Kind::F64 => format!("{:?}", f64::from_bits(word)),
        });
    }
    text
}

/// The source with its trailing comment replaced.
#[must_use]
pub fn replace(source: &str, expectation: &str) -> String {
    let mut text = body(source).trim_end().to_owned();
    text.push_str("\n\n");
    text.push_str(expectation);
    text
}

/// The expectation in a source, as [`render`] wrote it.
#[must_use]
pub fn stated(source: &str) -> &str {
    source[body(source).len()..].trim_start()
}

fn body(source: &str) -> &str {
    let end = ["\n// expect:", "\n// panic:"].iter().filter_map(|mark| source.find(mark)).min();
    &source[..end.unwrap_or(source.len())]
}

/// Where answers differ from the reference ones: a line for each, at most eight.
#[must_use]
pub fn differences(got: &[Words], expected: &[Words], kinds: &[Kind], ulp: u32) -> Vec<String> {
    if got.len() != expected.len() {
        return vec![format!("expected {} answers, found {}", expected.len(), got.len())];
    }
    let differing = got.iter().zip(expected).enumerate().filter(|(_, (got, expected))| {
        let mut pairs = got.iter().zip(expected.iter()).zip(kinds);
        !pairs.all(|((&got, &expected), kind)| is_close(got, expected, *kind, ulp))
    });
    differing
        .take(8)
        .map(|(thread, (got, expected))| {
            format!(
                "thread {thread}: expected {}, found {}",
                show(expected, kinds),
                show(got, kinds)
            )
        })
        .collect()
}

/// Whether the answers agree with the expectation stated in the file; what is
/// wrong otherwise.
///
/// ## Errors
///
/// A line for each difference.
pub fn check(source: &str, answers: &[Words], kinds: &[Kind], ulp: u32) -> Result<(), Vec<String>> {
    let stated = stated(source);
    if stated.is_empty() {
        return Err(vec![
            "the file states no expected values: run with BLESS=1, then review".into(),
        ]);
    }
    let found = render(answers, kinds, ulp);
    if stated.trim_end() == found.trim_end() {
        return Ok(());
    }
    let listed = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("// expect:"));
        lines.flat_map(|line| line.split_whitespace().map(str::to_owned)).collect()
    };
    let (expected, got) = (listed(stated), listed(&found));
    if expected.len() != got.len() {
        return Err(vec![format!(
            "the file lists {} answers, expected {}",
            expected.len(),
            got.len()
        )]);
    }
    let wrong: Vec<String> = (expected.iter().zip(&got).enumerate())
        .filter(|(_, (expected, got))| !is_text_close(expected, got, kinds, ulp))
        .map(|(thread, (expected, got))| {
            format!("thread {thread}: expected {expected}, found {got}")
        })
        .collect();
    match (wrong.is_empty(), ulp) {
        (true, 0) => Err(vec!["the hash differs: an answer that is not listed has changed".into()]),
        (true, _) => Ok(()),
        (false, _) => Err(wrong),
    }
}

fn is_text_close(expected: &str, got: &str, kinds: &[Kind], ulp: u32) -> bool {
    let (mut expected, mut got) = (expected.split(','), got.split(','));
    kinds.iter().all(|kind| match (expected.next(), got.next()) {
        (Some(expected), Some(got)) => match kind {
            Kind::Unsigned | Kind::Signed => expected == got,
            Kind::F32 => match (expected.parse::<f32>(), got.parse::<f32>()) {
                (Ok(a), Ok(b)) => is_close(a.to_bits().into(), b.to_bits().into(), *kind, ulp),
                _ => false,
            },
            Kind::F64 => match (expected.parse::<f64>(), got.parse::<f64>()) {
                (Ok(a), Ok(b)) => is_close(a.to_bits(), b.to_bits(), *kind, ulp),
                _ => false,
            },
        },
        _ => false,
    }) && expected.next().is_none()
}

/// Whether two words agree: bit by bit, or floats of one sign within `ulp` steps.
#[must_use]
pub fn is_close(a: u64, b: u64, kind: Kind, ulp: u32) -> bool {
    let ordered = |bits: u64, sign: u32| {
        let magnitude = (bits & !(1 << sign)) as i64;
        if bits >> sign & 1 == 1 { -magnitude } else { magnitude }
    };
    if a == b || ulp == 0 {
        return a == b;
    }
    match kind {
        Kind::Unsigned | Kind::Signed => false,
        Kind::F32 => {
            let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            x.is_nan() && y.is_nan()
                || x.is_finite() == y.is_finite()
                    && ordered(a, 31).abs_diff(ordered(b, 31)) <= u64::from(ulp)
        }
        Kind::F64 => {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            x.is_nan() && y.is_nan()
                || x.is_finite() == y.is_finite()
                    && ordered(a, 63).abs_diff(ordered(b, 63)) <= u64::from(ulp)
        }
    }
}

/// FNV-1a over the bytes of all words.
fn hash(answers: &[Words]) -> u64 {
    let bytes = answers.iter().flatten().flat_map(|word| word.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
