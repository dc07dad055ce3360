//! Results against expected results.

use std::fmt;

/// What an example ends with.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why an example failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// A call failed, or a kernel panicked.
    Raddle(raddle::Error),
    /// The device computed something else than the host.
    Wrong {
        /// What was computed.
        what: String,
        /// Which element.
        index: usize,
        /// The host's value.
        expected: String,
        /// The device's value.
        found: String,
    },
    /// Something that must fail did not, or with another error.
    NoSuchError {
        /// Words of the error that was expected.
        expected: String,
    },
    /// There are more or fewer results than expected.
    Count {
        /// What was computed.
        what: String,
        /// How many the host has.
        expected: usize,
        /// How many the device gave.
        found: usize,
    },
}

impl From<raddle::Error> for Failure {
    fn from(error: raddle::Error) -> Self {
        Self::Raddle(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raddle(error) => error.fmt(f),
            Self::Wrong { what, index, expected, found } => {
                write!(f, "{what}: element {index}: expected {expected}, found {found}")
            }
            Self::NoSuchError { expected } => write!(f, "no error that says `{expected}`"),
            Self::Count { what, expected, found } => {
                write!(f, "{what}: expected {expected} elements, found {found}")
            }
        }
    }
}

impl std::error::Error for Failure {}

/// Demands that all elements are equal.
///
/// ## Errors
///
/// [`Failure::Wrong`] with the first that is not, [`Failure::Count`].
pub fn expect_equal<T: PartialEq + fmt::Debug>(what: &str, found: &[T], expected: &[T]) -> Outcome {
    expect(what, found, expected, |found, expected| found == expected)
}

/// Demands that each element differs from the expected one by at most `tolerance`
/// times the largest expected magnitude. A value that is not a number is never
/// close.
///
/// ## Errors
///
/// [`Failure::Wrong`] with the first that is not, [`Failure::Count`].
pub fn expect_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> Outcome {
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    expect(what, found, expected, |found, expected| (found - expected).abs() <= tolerance * largest)
}

fn expect<T: fmt::Debug>(
    what: &str,
    found: &[T],
    expected: &[T],
    is_right: impl Fn(&T, &T) -> bool,
) -> Outcome {
    if found.len() != expected.len() {
        let (expected, found) = (expected.len(), found.len());
        return Err(Failure::Count { what: what.to_owned(), expected, found });
    }
    match found.iter().zip(expected).position(|(found, expected)| !is_right(found, expected)) {
        None => Ok(()),
        Some(index) => Err(Failure::Wrong {
            what: what.to_owned(),
            index,
            expected: format!("{:?}", expected[index]),
            found: format!("{:?}", found[index]),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_results_are_found() {
        assert!(expect_equal("sum", &[1, 2], &[1, 2]).is_ok());
        let error = expect_equal("sum", &[1, 3], &[1, 2]).unwrap_err();
        assert_eq!(error.to_string(), "sum: element 1: expected 2, found 3");
        let error = expect_equal("sum", &[1], &[1, 2]).unwrap_err();
        assert_eq!(error.to_string(), "sum: expected 2 elements, found 1");
        assert!(expect_close("mean", &[100.01, 0.1], &[100.0, 0.0], 1e-2).is_ok());
        assert!(expect_close("mean", &[101.0], &[100.0], 1e-3).is_err());
        assert!(expect_close("mean", &[f32::NAN], &[100.0], 1e-3).is_err());
        assert!(expect_close("mean", &[0.0], &[f32::NAN], 1e-3).is_err());
    }
}
