//! No gaps where the struct says so.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C, packed)]
#[derive(Clone, Copy, DeviceType)]
struct Packed {
    a: u8,
    b: u32,
    c: u16,
    d: u64,
}

#[repr(C, packed(2))]
#[derive(Clone, Copy, DeviceType)]
struct HalfPacked {
    a: u8,
    b: u32,
    c: u8,
    d: f64,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Packed { a: 1, b: thread, c: 0x1234, d: u64::MAX - u64::from(thread) }),
        layout!(HalfPacked { a: 2, b: !thread, c: 3, d: f64::from(thread) / 7.0 }),
    )
}

// expect: 0xf000f0001,66823,66823,0x7572663587c66566,0x1000100002,132616,132616,0x620d1b1762ecd548
// expect: 0xf000f0001,66823,66823,0x44868e9bc2d08332,0x1000100002,132616,132616,0xec346897533f3080
// expect: 0xf000f0001,66823,66823,0x7d76c18905d2e84e,0x1000100002,132616,132616,0xc9d61ec77c17ccc3
// expect: 0xf000f0001,66823,66823,0x4d946a82c04e3852,0x1000100002,132616,132616,0xc9e5d39f299259dd
// expect: 0xf000f0001,66823,66823,0x1a59832793dcc26e,0x1000100002,132616,132616,0x68a020f4d3475f5
// expect: 0xf000f0001,66823,66823,0x1ab3cba1bb7d8d32,0x1000100002,132616,132616,0x80af9578c378aebb
// expect: 0xf000f0001,66823,66823,0xb5df03cb1f3e6556,0x1000100002,132616,132616,0x97dbafa2cb575188
// expect: 0xf000f0001,66823,66823,0x90550d34fbe55cb2,0x1000100002,132616,132616,0x584f3962fea13c6e
// hash: 0xd1ee38f8b6b4f350 of 32 answers
