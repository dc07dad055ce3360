//! An input is read only.
use raddle::prelude::*;

#[kernel]
pub fn writes_input(x: &[f32], mut out: PerThread<f32>) {
    if let Some((i, out)) = out.mine() {
        x[i] = 1.0; //~ ERROR cannot assign to `x[_]`
        *out = x[i];
    }
}
