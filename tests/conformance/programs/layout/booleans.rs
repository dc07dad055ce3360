//! Truth values, characters and the unit.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Flags {
    a: bool,
    b: u32,
    c: bool,
    d: bool,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Marked {
    a: bool,
    b: [bool; 3],
    c: u64,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let odd = thread % 2 == 1;
    (
        layout!(Flags { a: odd, b: thread, c: !odd, d: true }),
        layout!(Marked { a: true, b: [odd, false, !odd], c: u64::MAX }),
    )
}

// expect: 0xc000c0004,264201,264201,0xbd167fd1cbc2a6af,0x1000100008,264,264,0x6c72bc0ba66b0f5f
// expect: 0xc000c0004,264201,264201,0x75757942c849775a,0x1000100008,264,264,0xc33b0bd8f35be8d7
// expect: 0xc000c0004,264201,264201,0xfb0c0de3e1a13af1,0x1000100008,264,264,0x6c72bc0ba66b0f5f
// expect: 0xc000c0004,264201,264201,0xb36b0754de280b9c,0x1000100008,264,264,0xc33b0bd8f35be8d7
// expect: 0xc000c0004,264201,264201,0x412b63ada0057e2b,0x1000100008,264,264,0x6c72bc0ba66b0f5f
// expect: 0xc000c0004,264201,264201,0xf98a5d1e9c8c4ed6,0x1000100008,264,264,0xc33b0bd8f35be8d7
// expect: 0xc000c0004,264201,264201,0x7f20f1bfb5e4126d,0x1000100008,264,264,0x6c72bc0ba66b0f5f
// expect: 0xc000c0004,264201,264201,0x377feb30b26ae318,0x1000100008,264,264,0xc33b0bd8f35be8d7
// hash: 0xb36ce4a06affc352 of 32 answers
