//! Half floats, pairs and vectors of the vocabulary as fields.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Halves {
    a: u8,
    b: f16,
    c: u8,
    d: bf16,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Vectors {
    a: u8,
    b: F32x4,
    c: f16x2,
    d: u8,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let x = thread as f32 * 0.375;
    let pair = f16x2::from_f32s(x, 1.0);
    (
        layout!(Halves { a: 1, b: f16::from_f32(x), c: 2, d: bf16::from_f32(x) }),
        layout!(Vectors { a: 3, b: F32x4::new([x, -x, 0.5, 1.0]), c: pair, d: 4 }),
    )
}

// expect: 0x800080002,132102,132102,0xc9c28939c99668c6,0x3000300010,1056804,1056804,0xe893be90bd8ac62e
// expect: 0x800080002,132102,132102,0x921e60baf5bdba4e,0x3000300010,1056804,1056804,0x12fd09cdf8d4313c
// expect: 0x800080002,132102,132102,0x5dafdd10ff0e8b8d,0x3000300010,1056804,1056804,0x2a642d043fd22318
// expect: 0x800080002,132102,132102,0x45ab94bc6e9a93cb,0x3000300010,1056804,1056804,0xaed04bd1c3506a2
// expect: 0x800080002,132102,132102,0x2e59d8670cb33f19,0x3000300010,1056804,1056804,0xe157b51c06e17ab4
// expect: 0x800080002,132102,132102,0x6a72583be5743c82,0x3000300010,1056804,1056804,0xcc934488a96545f
// expect: 0x800080002,132102,132102,0xaa131a6224601f36,0x3000300010,1056804,1056804,0x4b49707b298e106e
// expect: 0x800080002,132102,132102,0x58634e81e0798fd,0x3000300010,1056804,1056804,0x75abe6057bff6131
// hash: 0x239951c219fea2b2 of 32 answers
