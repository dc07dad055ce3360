//! Structs inside structs keep their own padding.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Inner {
    a: u8,
    b: u32,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Outer {
    a: u8,
    inner: Inner,
    b: u8,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Deep {
    a: u16,
    outer: [Outer; 2],
    b: u64,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    // Made field by field, for the bytes between the fields to be zero.
    // SAFETY: all-zero bytes are values of both.
    let (mut inner, mut outer): (Inner, Outer) = unsafe { core::mem::zeroed() };
    (inner.a, inner.b) = (3, thread);
    (outer.a, outer.inner.b, outer.b) = (4, !thread, 5);
    (
        layout!(Outer { a: 9, inner: inner, b: thread as u8 }),
        layout!(Deep { a: 1, outer: [outer, outer], b: u64::from(thread) }),
    )
}

// expect: 0x1000100004,1036,1036,0x90dd4312f6fdb83f,0x3000300008,1064,1064,0x7defae5ed990681c
// expect: 0x1000100004,1036,1036,0x11dd281242442aaf,0x3000300008,1064,1064,0x1a45e4b2fc9d531d
// expect: 0x1000100004,1036,1036,0x92dd0d118d8a9d1f,0x3000300008,1064,1064,0xdeddaa9776f2ccde
// expect: 0x1000100004,1036,1036,0x13dcf210d8d10f8f,0x3000300008,1064,1064,0xfc1a0d0ed284c1df
// expect: 0x1000100004,1036,1036,0x94dcd710241781ff,0x3000300008,1064,1064,0x33350541665c71a0
// expect: 0x1000100004,1036,1036,0x15dcbc0f6f5df46f,0x3000300008,1064,1064,0x96b145e3765f4ca1
// expect: 0x1000100004,1036,1036,0x96dca10ebaa466df,0x3000300008,1064,1064,0xff16162d16371662
// expect: 0x1000100004,1036,1036,0x17dc860e05ead94f,0x3000300008,1064,1064,0xcada697e2235f163
// hash: 0x793a304b609a4856 of 32 answers
