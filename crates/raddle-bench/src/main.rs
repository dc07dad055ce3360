//! Placeholder.
mod kernels;
fn main() {}
