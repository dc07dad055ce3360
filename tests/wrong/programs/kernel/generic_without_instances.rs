//! A generic kernel says what it is compiled for.
use raddle::prelude::*;

#[kernel]
pub fn generic_without_instances<T: DeviceType>(x: T, mut out: PerThread<T>) { //~ ERROR add `#[kernel(instances(f32))]`
    if let Some((_, out)) = out.mine() {
        *out = x;
    }
}
