//! Whether two values agree, by the rules of ONNX's own test runner:
//! `|found - expected| <= atol + rtol |expected|`, types and shapes equal.

use raddle_tensor::convert::Compute;
use raddle_tensor::{Class, Tensor, Value};

/// How far a result may be off.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Relative to the expected value.
    pub relative: f64,
    /// Absolute.
    pub absolute: f64,
}

/// What ONNX's runner uses for node tests.
pub const NODE_TESTS: Tolerance = Tolerance { relative: 1e-3, absolute: 1e-7 };

/// Says where two values differ.
///
/// ## Errors
/// The first difference in words.
pub fn values(found: &Value, expected: &Value, tolerance: Tolerance) -> Result<(), String> {
    match (found, expected) {
        (Value::Tensor(found), Value::Tensor(expected)) => tensors(found, expected, tolerance),
        (Value::Sequence(found), Value::Sequence(expected)) => {
            if found.items.len() != expected.items.len() {
                let lens = (expected.items.len(), found.items.len());
                return Err(format!("expected {} items, found {}", lens.0, lens.1));
            }
            let mut pairs = found.items.iter().zip(expected.items.iter());
            pairs.try_for_each(|(found, expected)| values(found, expected, tolerance))
        }
        (Value::Optional(None), Value::Optional(None)) => Ok(()),
        (Value::Optional(Some(found)), Value::Optional(Some(expected))) => {
            values(found, expected, tolerance)
        }
        // The stored outputs of some cases leave the wrapper away.
        (Value::Optional(Some(found)), expected) => values(found, expected, tolerance),
        _ => Err(format!("expected {}, found {}", expected.kind(), found.kind())),
    }
}

/// Says whether types and shapes of two values differ.
///
/// ## Errors
/// The difference in words.
pub fn outlines(found: &Value, expected: &Value) -> Result<(), String> {
    let outline = |value: &Value| {
        let tensor = value.as_tensor();
        tensor.map(|tensor| format!("{}{:?}", tensor.dtype(), tensor.shape()))
    };
    match (outline(found), outline(expected)) {
        (found, expected) if found == expected && found.is_some() => Ok(()),
        (found, expected) => Err(format!("expected {expected:?}, found {found:?}")),
    }
}

fn tensors(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<(), String> {
    if found.dtype() != expected.dtype() {
        return Err(format!("expected type {}, found {}", expected.dtype(), found.dtype()));
    }
    if found.shape() != expected.shape() {
        return Err(format!("expected shape {:?}, found {:?}", expected.shape(), found.shape()));
    }
    let differ = || format!("expected {expected:?}, found {found:?}");
    let is_equal = match expected.dtype().class() {
        Class::String => found.data() == expected.data(),
        Class::Complex => {
            let parts = |tensor: &Tensor| -> Vec<f64> {
                match tensor.data() {
                    raddle_tensor::Data::Complex64(v) => {
                        v.iter().flatten().map(|&x| f64::from(x)).collect()
                    }
                    raddle_tensor::Data::Complex128(v) => v.iter().flatten().copied().collect(),
                    _ => Vec::new(),
                }
            };
            all_close(&parts(found), &parts(expected), tolerance)
        }
        Class::I64 | Class::Bool => i64::widen(found) == i64::widen(expected),
        Class::U64 => u64::widen(found) == u64::widen(expected),
        Class::F32 | Class::F64 => {
            let both = (f64::widen(found), f64::widen(expected));
            let (Ok(found), Ok(expected)) = both else { return Err(differ()) };
            all_close(&found, &expected, tolerance)
        }
    };
    if is_equal { Ok(()) } else { Err(differ()) }
}

fn all_close(found: &[f64], expected: &[f64], tolerance: Tolerance) -> bool {
    let is_close = |(&found, &expected): (&f64, &f64)| {
        found == expected
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= tolerance.absolute + tolerance.relative * expected.abs()
    };
    found.len() == expected.len() && found.iter().zip(expected).all(is_close)
}
