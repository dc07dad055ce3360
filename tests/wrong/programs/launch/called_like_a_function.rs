//! A kernel is launched by a stream; calling it alone does nothing.
use raddle::Buffer;

use crate::kernels;

#[deny(unused_must_use)]
pub fn run(x: &Buffer<f32>, y: &mut Buffer<f32>) {
    kernels::saxpy(2.0, x, y); //~ ERROR unused `KernelCall` that must be used
}
