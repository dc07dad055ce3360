//! Kernels that put each item of the tensor vocabulary to use, for the tests in
//! `tests/`, which run them on the CPU device and on the GPU where there is one.
//!
//! Matrices hold small integers, so that every sum is exact and results are equal
//! bit for bit, whatever the order of additions.

pub mod kernels;
