//! Two kernels of one name.
use raddle::prelude::*;

#[kernel]
pub fn kernel_twice(mut out: PerThread<f32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}

#[kernel] //~ ERROR the name `kernel_twice` is defined multiple times
pub fn kernel_twice(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1;
    }
}
