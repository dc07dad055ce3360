//! A kernel has no calling convention of its own.
use raddle::prelude::*;

#[kernel]
pub extern "C" fn extern_kernel(_x: f32) {} //~ ERROR a kernel is an ordinary Rust function
