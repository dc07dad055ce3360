//! Two kernels of one name.
use raddle::prelude::*;

#[kernel]
pub fn kernel_twice(mut out: PerThread<f32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}

#[kernel]
pub fn kernel_twice(mut out: PerThread<u32>) { //~ ERROR the name `kernel_twice` is defined multiple times
    if let Some((_, out)) = out.mine() {
        *out = 1;
    }
}
