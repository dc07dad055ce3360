//! The kernels that the benchmarks time. All but the tensor-core GEMM and the twins
//! without checks are safe.

pub mod checks;
pub mod gemm;
pub mod memory;
pub mod rows;
