//! The kernels, by what they test.

pub mod copies;
pub mod im2col;
pub mod numbers;
pub mod products;
pub mod tensors;
pub mod threads;
pub mod warpgroups;
