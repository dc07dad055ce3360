//! An instance that does not meet the kernel's bound.
use raddle::prelude::*;

pub trait Scale: DeviceType {
    fn scaled(self) -> Self;
}

impl Scale for f32 {
    fn scaled(self) -> Self {
        self * 2.0
    }
}

#[kernel(instances(f32, u8))] //~ ERROR Scale` is not satisfied
pub fn unfit_instance<T: Scale>(x: T, mut out: PerThread<T>) {
    if let Some((_, out)) = out.mine() {
        *out = x.scaled();
    }
}
