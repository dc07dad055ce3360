//! Fields of different widths leave gaps.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Rising {
    a: u8,
    b: u16,
    c: u32,
    d: u64,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Falling {
    a: u64,
    b: u32,
    c: u16,
    d: u8,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Rising {
            a: thread as u8,
            b: thread as u16 * 257,
            c: !thread,
            d: u64::from(thread) << 40
        }),
        layout!(Falling {
            a: u64::from(thread) << 40,
            b: !thread,
            c: thread as u16 * 257,
            d: thread as u8
        }),
    )
}

// expect: 0x1000100008,132104,132104,0xb28336c8a4763141,0x1000100008,527374,527374,0x650d82be8614cf81
// expect: 0x1000100008,132104,132104,0x5792ec0d43416d9c,0x1000100008,527374,527374,0x4c779c4a830688
// expect: 0x1000100008,132104,132104,0xcd14d09ba5179ad3,0x1000100008,527374,527374,0xbed863fe0cee15f3
// expect: 0x1000100008,132104,132104,0x4f90f8e9029c09e,0x1000100008,527374,527374,0x312f5de7c30273a
// expect: 0x1000100008,132104,132104,0x86cce3d7f42fc05,0x1000100008,527374,527374,0xe377c5d54d791215
// expect: 0x1000100008,132104,132104,0x445907a3b3434b80,0x1000100008,527374,527374,0xe95950cbfdd0318c
// expect: 0x1000100008,132104,132104,0xb39beb3b24968197,0x1000100008,527374,527374,0x2d4c3b31d0799887
// expect: 0x1000100008,132104,132104,0xd3db664dce852962,0x1000100008,527374,527374,0x3a4c794c3ac379ce
// hash: 0x55e0d5fbe1248881 of 32 answers
