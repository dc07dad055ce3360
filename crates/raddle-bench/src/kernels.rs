//! The kernels that the benchmarks time. All but the tensor-core GEMM are safe.

pub mod gemm;
pub mod memory;
pub mod rows;
