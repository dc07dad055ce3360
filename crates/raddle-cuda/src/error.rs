//! What can go wrong between this crate and the driver.

use std::fmt;
use std::sync::Arc;

use crate::status::{Severity, Status};

/// A failure of the driver or of loading it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The driver's library could not be loaded: there is no NVIDIA driver here,
    /// or it is in an unusual place (set `RADDLE_CUDA_LIBRARY`).
    LibraryMissing {
        /// Each place that was tried and what the loader said.
        tried: Arc<[(String, String)]>,
    },
    /// The driver lacks a function that this crate cannot do without: it is too
    /// old. Update it.
    DriverTooOld {
        /// The missing function.
        symbol: &'static str,
        /// The library that lacks it.
        library: Arc<str>,
    },
    /// The driver lacks a function that this operation needs.
    FunctionMissing {
        /// The missing function.
        symbol: &'static str,
        /// CUDA version that brought it, as in 12.4.
        since: (u32, u32),
    },
    /// A driver call failed.
    Driver {
        /// The function that was called.
        call: &'static str,
        /// What it returned.
        status: Status,
    },
    /// The driver refused a kernel image.
    Image {
        /// The function that was called.
        call: &'static str,
        /// What it returned.
        status: Status,
        /// What the driver's assembler wrote.
        log: Arc<str>,
    },
    /// NVRTC, which compiles CUDA C++ text, is not installed.
    NvrtcMissing {
        /// Each name that was tried and what the loader said.
        tried: Arc<[(String, String)]>,
    },
    /// NVRTC refused a program.
    Nvrtc {
        /// The function that was called.
        call: &'static str,
        /// NVRTC's own result code.
        code: i32,
        /// The compiler's log.
        log: Arc<str>,
    },
    /// NVML, which looks at GPUs, is not there: it comes with the driver.
    NvmlMissing {
        /// Each name that was tried and what the loader said.
        tried: Arc<[(String, String)]>,
    },
    /// NVML refused a question.
    Nvml {
        /// The function that was called.
        call: &'static str,
        /// NVML's own result code.
        code: i32,
    },
    /// A name or text holds a zero byte and cannot be given to the driver.
    ZeroByte {
        /// The name or the beginning of the text.
        text: Arc<str>,
    },
    /// The process is the child of a fork, made after the driver was started in
    /// the parent. CUDA does not survive a fork: start children with
    /// `std::process::Command`, or fork before the first use.
    Forked {
        /// Process id of the parent.
        parent: u32,
    },
    /// The object belongs to a context that was lost to a fault or reset. Make it
    /// anew in the device's new context.
    ContextRetired,
    /// A stream capture did not yield a graph, or a graph does not fit its use.
    Graph {
        /// What is wrong.
        reason: &'static str,
    },
    /// A tensor map's description is inconsistent.
    TensorMap {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Error {
    /// The driver's result code, if a driver call failed.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Driver { status, .. } | Self::Image { status, .. } => Some(*status),
            Self::LibraryMissing { .. }
            | Self::DriverTooOld { .. }
            | Self::FunctionMissing { .. }
            | Self::NvrtcMissing { .. }
            | Self::Nvrtc { .. }
            | Self::NvmlMissing { .. }
            | Self::Nvml { .. }
            | Self::ZeroByte { .. }
            | Self::Forked { .. }
            | Self::ContextRetired
            | Self::Graph { .. }
            | Self::TensorMap { .. } => None,
        }
    }

    /// Whether the context (or more) is lost, so that retrying cannot help.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        if matches!(self, Self::ContextRetired) {
            return true;
        }
        self.status().is_some_and(|status| status.severity() != Severity::Call)
    }

    /// Whether the machine simply has no usable NVIDIA driver or GPU.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::LibraryMissing { .. } => true,
            _ => matches!(self.status(), Some(Status::NO_DEVICE | Status(34))),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LibraryMissing { tried } => {
                write!(f, "no NVIDIA driver library was found (tried ")?;
                for (i, (name, reason)) in tried.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "; " };
                    write!(f, "{comma}{name}: {reason}")?;
                }
                write!(f, "); install the driver or set RADDLE_CUDA_LIBRARY to its path")
            }
            Self::DriverTooOld { symbol, library } => {
                write!(
                    f,
                    "{library} lacks {symbol}: the NVIDIA driver is too old, 530 or later is needed"
                )
            }
            Self::FunctionMissing { symbol, since: (major, minor) } => {
                write!(
                    f,
                    "the driver lacks {symbol}, which came with CUDA {major}.{minor}: update the driver"
                )
            }
            Self::Driver { call, status } => {
                write!(f, "{call}: {} ({}): {}", status.name(), status.0, status.advice())
            }
            Self::Image { call, status, log } => {
                write!(f, "{call}: {} ({}): {}", status.name(), status.0, status.advice())?;
                if log.is_empty() { Ok(()) } else { write!(f, "\n{log}") }
            }
            Self::NvrtcMissing { tried } => {
                write!(f, "NVRTC was not found (tried ")?;
                for (i, (name, reason)) in tried.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "; " };
                    write!(f, "{comma}{name}: {reason}")?;
                }
                write!(
                    f,
                    "); install the CUDA toolkit or set RADDLE_NVRTC_LIBRARY to libnvrtc's path"
                )
            }
            Self::Nvrtc { call, code, log } => write!(f, "{call}: NVRTC error {code}\n{log}"),
            Self::NvmlMissing { tried } => {
                write!(f, "NVML was not found (tried ")?;
                for (i, (name, reason)) in tried.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "; " };
                    write!(f, "{comma}{name}: {reason}")?;
                }
                write!(
                    f,
                    "); install the NVIDIA driver or set RADDLE_NVML_LIBRARY to libnvidia-ml's path"
                )
            }
            Self::Nvml { call, code } => write!(f, "{call}: NVML error {code}"),
            Self::ZeroByte { text } => write!(f, "zero byte in {text:?}"),
            Self::Forked { parent } => write!(
                f,
                "this process was forked from process {parent}, which had started the driver, and \
                 CUDA does not survive a fork: start children with std::process::Command, or fork \
                 before the first use"
            ),
            Self::ContextRetired => write!(
                f,
                "the context of the object was lost to a fault, or reset after one: make the object anew in the device's next context"
            ),
            Self::Graph { reason } => write!(f, "graph: {reason}"),
            Self::TensorMap { reason } => write!(f, "tensor map: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Turns a driver result into ours.
#[inline(always)]
pub(crate) fn check(call: &'static str, code: u32) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(failed(call, code)) }
}

#[cold]
fn failed(call: &'static str, code: u32) -> Error {
    Error::Driver { call, status: Status(code) }
}
