//! A function pointer of the host means nothing on the device.
use raddle::prelude::*;

#[kernel]
pub fn function_pointer_parameter(f: fn(f32) -> f32, mut out: PerThread<f32>) { //~ ERROR cannot be a kernel parameter
    if let Some((i, out)) = out.mine() {
        *out = f(i as f32);
    }
}
