//! Generic structs, by type and by length.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Pair<A, B> {
    a: A,
    b: B,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Rows<T, const N: usize> {
    len: u8,
    rows: [T; N],
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Pair::<u8, f64> { a: 9, b: f64::from(thread) }),
        layout!(Rows::<u16, 5> { len: 5, rows: [thread as u16; 5] }),
    )
}

// expect: 0x1000100008,8,8,0xb112b831e6930e2c,0xc000c0002,2,2,0x8a161eb857094920
// expect: 0x1000100008,8,8,0xb28f2f31e7d62a71,0xc000c0002,2,2,0xc05f96dd67290e19
// expect: 0x1000100008,8,8,0xb112f831e6937aec,0xc000c0002,2,2,0xf6a90f027748d312
// expect: 0x1000100008,8,8,0xb0f7c831e67c61a4,0xc000c0002,2,2,0x2cf287278768980b
// expect: 0x1000100008,8,8,0xb148d831e6c0d3fc,0xc000c0002,2,2,0x633bff4c97885d04
// expect: 0x1000100008,8,8,0xb13bc031e6b620d8,0xc000c0002,2,2,0x99857771a7a821fd
// expect: 0x1000100008,8,8,0xb12e2831e6aa9434,0xc000c0002,2,2,0xcfceef96b7c7e6f6
// expect: 0x1000100008,8,8,0xb1201031e69e2e10,0xc000c0002,2,2,0x61867bbc7e7abef
// hash: 0x4d7e5cc1cc10a02d of 32 answers
