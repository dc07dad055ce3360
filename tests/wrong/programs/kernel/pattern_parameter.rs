//! A parameter is a name.
use raddle::prelude::*;

#[kernel]
pub fn pattern_parameter((a, b): (f32, f32), mut out: PerThread<f32>) { //~ ERROR a kernel parameter needs a name
    if let Some((_, out)) = out.mine() {
        *out = a + b;
    }
}
