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
    first: Outer,
    second: Outer,
    b: u64,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Outer { a: 9, inner.a: 3, inner.b: thread, b: thread as u8 }),
        layout!(Deep {
            a: 1,
            first.a: 4,
            first.inner.b: !thread,
            second.inner.a: 5,
            second.inner.b: thread,
            second.b: 6,
            b: u64::from(thread),
        }),
    )
}

// expect: 0x1000100004,264204,264204,0x90dd4312f6fdb83f,0x3000300008,0x40c181c2028,0x40c181c2028,0xaa0115ccb3050f1f
// expect: 0x1000100004,264204,264204,0x11dd281242442aaf,0x3000300008,0x40c181c2028,0x40c181c2028,0xb9e49844710d841e
// expect: 0x1000100004,264204,264204,0x92dd0d118d8a9d1f,0x3000300008,0x40c181c2028,0x40c181c2028,0xa060bc3cee18ab5d
// expect: 0x1000100004,264204,264204,0x13dcf210d8d10f8f,0x3000300008,0x40c181c2028,0x40c181c2028,0xdfb25bb19513105c
// expect: 0x1000100004,264204,264204,0x94dcd710241781ff,0x3000300008,0x40c181c2028,0x40c181c2028,0x45c10f9cb3fe38a3
// expect: 0x1000100004,264204,264204,0x15dcbc0f6f5df46f,0x3000300008,0x40c181c2028,0x40c181c2028,0x55a492147206ada2
// expect: 0x1000100004,264204,264204,0x96dca10ebaa466df,0x3000300008,0x40c181c2028,0x40c181c2028,0x8675fc21a5a282e1
// expect: 0x1000100004,264204,264204,0x17dc860e05ead94f,0x3000300008,0x40c181c2028,0x40c181c2028,0xc5c79b964c9ce7e0
// hash: 0xfadd656876271889 of 32 answers
