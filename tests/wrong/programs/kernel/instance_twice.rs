//! One instance listed twice.
use raddle::prelude::*;

#[kernel(instances(f32, f32))] //~ ERROR `f32` is listed twice
pub fn instance_twice<T: DeviceType>(x: T, mut out: PerThread<T>) {
    if let Some((_, out)) = out.mine() {
        *out = x;
    }
}
