//! 128-bit integers, aligned to 16 bytes.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Wide {
    a: u8,
    b: u128,
    c: u8,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct TwoWide {
    a: i128,
    b: u64,
    c: i128,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Wide { a: 1, b: u128::MAX / (u128::from(thread) + 3), c: 2 }),
        layout!(TwoWide { a: -i128::from(thread), b: 5, c: i128::MIN + i128::from(thread) }),
    )
}

// expect: 0x3000300010,4128,4128,0x4a22c6d1827b2016,0x3000300010,4128,4128,0x85e295d8ee0a6de0
// expect: 0x3000300010,4128,4128,0x8b1f8f6586a447d6,0x3000300010,4128,4128,0x4365a32c309e4f11
// expect: 0x3000300010,4128,4128,0x50af090608caa716,0x3000300010,4128,4128,0xe7464b023e23f893
// expect: 0x3000300010,4128,4128,0x82bca7c5368e1006,0x3000300010,4128,4128,0xa4af520454c10811
// expect: 0x3000300010,4128,4128,0xff23e3c652d421fb,0x3000300010,4128,4128,0xb6775bfa47473897
// expect: 0x3000300010,4128,4128,0x66080e7321ab1636,0x3000300010,4128,4128,0x52ac290acb81df11
// expect: 0x3000300010,4128,4128,0xefde86df89068f4a,0x3000300010,4128,4128,0x9a41877ff328f093
// expect: 0x3000300010,4128,4128,0xb3b484b14d99a396,0x3000300010,4128,4128,0x861a1f3e51f2fe11
// hash: 0x8e0e99eaa05ff218 of 32 answers
