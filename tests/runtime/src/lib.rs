//! What the tests of the runtime share: kernels that compute the same on a GPU, on
//! the CPU device and in the fake driver; processes of their own; and random
//! programs with a serial oracle.
//!
//! A process can load one driver, so a test that wants the fake runs itself again
//! with `RADDLE_CUDA_LIBRARY` set (see [`isolated`]).

mod captured;
pub mod harness;
pub mod kernels;
pub mod program;
pub mod random;
pub mod runner;
pub mod scenarios;
pub mod shrink;

pub use harness::{gpu, isolated, watchdog};
