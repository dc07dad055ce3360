//! Runs every kernel on the CPU device and on the GPU where there is one, and
//! compares the results with plain Rust on the host, bit for bit.

mod copies;
mod im2col;
mod numbers;
mod products;
mod support;
mod tensors;
mod threads;
mod warpgroups;
