//! Conformance: small programs that together show the kernel language is Rust.
//!
//! Each file below `programs/` is one module with a function `program(thread)` that
//! returns plain values. The suite calls it as an ordinary function, runs it as a
//! kernel on the CPU device and, where one is usable, on the GPU, and compares every
//! answer with the file's expected values. `generate` adds random programs whose
//! answers are compared between the devices.

pub use kernels::answer;

pub mod expect;
pub mod header;
pub mod program;
pub mod suite;

/// The programs and one kernel for each, written by the build script.
#[allow(missing_docs)]
pub mod kernels {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

/// The table of all programs.
pub mod table {
    use crate::program::{Program, input, kinds_of, kinds_of_with_input};
    use crate::{answer::words, kernels};
    include!(concat!(env!("OUT_DIR"), "/table.rs"));
}
