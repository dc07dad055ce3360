//! Floats of both widths between bytes.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Floats {
    a: u8,
    b: f32,
    c: u8,
    d: f64,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Triple {
    x: f32,
    y: f32,
    z: f32,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let x = thread as f32 * 1.25;
    (
        layout!(Floats { a: 1, b: x, c: 2, d: f64::from(x) / 3.0 }),
        layout!(Triple { x: x, y: -x, z: x * 0.5 }),
    )
}

// expect: 0x1800180008,264208,264208,0xf926c22b68fc6926,0xc000c0004,1032,1032,0xfcf61b9b755b3315
// expect: 0x1800180008,264208,264208,0x9a757a020ad9dbe1,0xc000c0004,1032,1032,0xd581aa988bacaf68
// expect: 0x1800180008,264208,264208,0x2111dff1d1b705d8,0xc000c0004,1032,1032,0x226d1b019d4c7758
// expect: 0x1800180008,264208,264208,0xabb149b118a0662b,0xc000c0004,1032,1032,0xa2d282c683d4dfe8
// expect: 0x1800180008,264208,264208,0x3c5de0f075b3f848,0xc000c0004,1032,1032,0x865d6ec8fdc9adf5
// expect: 0x1800180008,264208,264208,0x774a79a44f71f07,0xc000c0004,1032,1032,0xbe306a249ad46cd
// expect: 0x1800180008,264208,264208,0xaded672acd3bf872,0xc000c0004,1032,1032,0x6c2768de4517365
// expect: 0x1800180008,264208,264208,0xe65be47fa339c088,0xc000c0004,1032,1032,0xbc48e40574f9bbc1
// hash: 0x821b8d7cb137a781 of 32 answers
