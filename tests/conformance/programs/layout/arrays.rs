//! Arrays as fields.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Arrays {
    a: [u8; 3],
    b: [u16; 3],
    c: [u32; 2],
    d: [u8; 5],
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Matrix {
    tag: u8,
    rows: [[f32; 3]; 2],
    last: u16,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let (t, x) = (thread as u8, thread as f32);
    (
        layout!(Arrays { a: [1, 2, t], b: [t.into(), 300, 7], c: [thread, !thread], d: [t; 5] }),
        layout!(Matrix { tag: t, rows: [[1.0, 2.0, x], [x, -1.0, 0.5]], last: 0xabcd }),
    )
}

// expect: 0x1c001c0004,265236,265236,0xda86b12116555dca,0x2000200004,1052,1052,0x5cd238294b1e3cc
// expect: 0x1c001c0004,265236,265236,0x346b304be714587f,0x2000200004,1052,1052,0x3daf4efb37bbc21d
// expect: 0x1c001c0004,265236,265236,0x71884147aba898c0,0x2000200004,1052,1052,0xde74fa99cfd1d6ee
// expect: 0x1c001c0004,265236,265236,0xb0e37b2540f2552d,0x2000200004,1052,1052,0xbb419a2e81eb4447
// expect: 0x1c001c0004,265236,265236,0xf623f712d1d95c8e,0x2000200004,1052,1052,0x95230351641368f8
// expect: 0x1c001c0004,265236,265236,0x49ef0fbf83850f4b,0x2000200004,1052,1052,0x9fc59e5f8378ff19
// expect: 0x1c001c0004,265236,265236,0x7a578ba74b45564,0x2000200004,1052,1052,0xac8e5828559e092a
// expect: 0x1c001c0004,265236,265236,0x392b4adb31e721f9,0x2000200004,1052,1052,0x8432a9f32bf9c8f3
// hash: 0xe8316a02e8da2fe0 of 32 answers
