//! A `Vec` cannot cross to the device: kernels take `&[T]`.
use raddle::prelude::*;

#[kernel]
pub fn vec_parameter(values: Vec<f32>, mut out: PerThread<f32>) { //~ ERROR `Vec<f32>` cannot be a kernel parameter
    if let Some((i, out)) = out.mine() {
        *out = values[i];
    }
}
