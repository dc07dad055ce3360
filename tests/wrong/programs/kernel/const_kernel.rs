//! A kernel cannot be `const`.
use raddle::prelude::*;

#[kernel]
pub const fn const_kernel(_x: f32) {} //~ ERROR a kernel cannot be `const`
