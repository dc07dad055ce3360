//! A closure cannot be a parameter: its type is not known when kernels are compiled.
use raddle::prelude::*;

#[kernel]
pub fn impl_trait_parameter(f: impl Fn(f32) -> f32, mut out: PerThread<f32>) { //~ ERROR a kernel is compiled for known types
    if let Some((i, out)) = out.mine() {
        *out = f(i as f32);
    }
}
