//! Signed fields, and a gap before each.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Gaps {
    a: i8,
    b: i64,
    c: i8,
    d: i32,
    e: i8,
    f: i16,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Dense {
    a: i64,
    b: i32,
    c: i16,
    d: i8,
    e: i8,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let n = i64::from(thread) + 1;
    (
        layout!(Gaps { a: -1, b: -n, c: -2, d: -(thread as i32), e: -3, f: -(thread as i16) }),
        layout!(Dense { a: -n, b: 1 - thread as i32, c: -7, d: thread as i8, e: -1 }),
    )
}

// expect: 0x2000200008,0x81014181a,0x81014181a,0xb641575df37b1971,0x1000100008,0x80c0e0f,0x80c0e0f,0x6e00f223588f4cd
// expect: 0x2000200008,0x81014181a,0x81014181a,0x5e136de4bd3a1e4a,0x1000100008,0x80c0e0f,0x80c0e0f,0x2b57364c95f15bc4
// expect: 0x2000200008,0x81014181a,0x81014181a,0xce8da07540501bb5,0x1000100008,0x80c0e0f,0x80c0e0f,0x6c18847fab16bd1c
// expect: 0x2000200008,0x81014181a,0x81014181a,0xc8ed44e8c41a615c,0x1000100008,0x80c0e0f,0x80c0e0f,0x69d46240efd6b665
// expect: 0x2000200008,0x81014181a,0x81014181a,0xe3d2baef98fb4e27,0x1000100008,0x80c0e0f,0x80c0e0f,0x59c644ef14a7a93a
// expect: 0x2000200008,0x81014181a,0x81014181a,0x2cf8fefe19c4aa26,0x1000100008,0x80c0e0f,0x80c0e0f,0x6309774e9ef4bc83
// expect: 0x2000200008,0x81014181a,0x81014181a,0x6940fb9190a44b91,0x1000100008,0x80c0e0f,0x80c0e0f,0xea0bb2244a9af4f8
// expect: 0x2000200008,0x81014181a,0x81014181a,0x83ec6a6a382b3538,0x1000100008,0x80c0e0f,0x80c0e0f,0x51a605607ce92c41
// hash: 0x0f5862eaede91539 of 32 answers
