//! What can go wrong in a call of a kernel.

/// A call that cannot be made, or failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A buffer is of another length than the shapes say. The caller's fault.
    #[error("{operation}: expected {expected} elements of {what}, found {found}")]
    Length {
        /// The call.
        operation: &'static str,
        /// Which operand.
        what: &'static str,
        /// Elements that the shapes say.
        expected: usize,
        /// Elements that there are.
        found: usize,
    },
    /// Shapes that do not go together or that the kernel has no numbers for.
    #[error("{operation}: {why}")]
    Shape {
        /// The call.
        operation: &'static str,
        /// What is wrong with them.
        why: String,
    },
    /// The device lacks the instructions of the kernel. Another kernel must be taken.
    #[error("{operation} needs compute capability {needed}, {device} has less")]
    Capability {
        /// The call.
        operation: &'static str,
        /// What the kernel needs.
        needed: &'static str,
        /// The device.
        device: String,
    },
    /// A failure of the runtime.
    #[error(transparent)]
    Runtime(#[from] raddle::Error),
}

/// The result of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Holds the length of an operand against what the shapes say.
pub fn check_len(
    operation: &'static str,
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::Length { operation, what, expected, found }),
    }
}
