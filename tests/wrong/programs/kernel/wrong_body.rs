//! rustc's own errors stay as they are.
use raddle::prelude::*;

#[kernel]
pub fn wrong_body(x: &[f32], mut out: PerThread<f32>) {
    if let Some((i, out)) = out.mine() {
        *out = x[i] + 1u32; //~ ERROR cannot add `u32` to `f32`
        *out = missing(x[i]); //~ ERROR cannot find function `missing` in this scope
    }
}
