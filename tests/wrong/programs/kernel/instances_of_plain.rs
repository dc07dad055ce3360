//! Instances of a kernel that is not generic.
use raddle::prelude::*;

#[kernel(instances(f32))] //~ ERROR has no type or const parameters
pub fn instances_of_plain(mut out: PerThread<f32>) {
    if let Some((_, out)) = out.mine() {
        *out = 1.0;
    }
}
