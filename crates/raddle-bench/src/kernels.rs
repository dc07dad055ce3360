//! The kernels that only the benchmarks have. All but the twins without checks are safe.

pub mod checks;
pub mod memory;
pub mod rows;
