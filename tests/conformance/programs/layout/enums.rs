//! Enums of a stated width.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(u8)]
#[derive(Clone, Copy, DeviceType)]
enum Small {
    A = 3,
    B = 200,
}

#[repr(i32)]
#[derive(Clone, Copy, DeviceType)]
enum Large {
    A = -5,
    B = 70_000,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Choice {
    a: Small,
    b: Large,
    c: Small,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Choices {
    a: [Small; 3],
    b: u16,
    c: [Large; 2],
}

pub fn program(thread: u32) -> (Layout, Layout) {
    let small = if thread % 2 == 0 { Small::A } else { Small::B };
    let large = if thread % 3 == 0 { Large::A } else { Large::B };
    (
        layout!(Choice { a: small, b: large, c: Small::B }),
        layout!(Choices { a: [small, Small::A, small], b: 17, c: [Large::A, large] }),
    )
}

// expect: 0xc000c0004,1032,1032,0xfc785e3388f35696,0x1000100004,1032,1032,0x87fbbe63f5801f61
// expect: 0xc000c0004,1032,1032,0xa1c4c88817c35653,0x1000100004,1032,1032,0xdff7c889772b23cb
// expect: 0xc000c0004,1032,1032,0x16c5b61382913d40,0x1000100004,1032,1032,0xebeecaeaff3c7a9f
// expect: 0xc000c0004,1032,1032,0x3d69c4a0ae5ffdbd,0x1000100004,1032,1032,0xd7722323a0536845
// expect: 0xc000c0004,1032,1032,0x16c5b61382913d40,0x1000100004,1032,1032,0xebeecaeaff3c7a9f
// expect: 0xc000c0004,1032,1032,0xa1c4c88817c35653,0x1000100004,1032,1032,0xdff7c889772b23cb
// expect: 0xc000c0004,1032,1032,0xfc785e3388f35696,0x1000100004,1032,1032,0x87fbbe63f5801f61
// expect: 0xc000c0004,1032,1032,0xa1c4c88817c35653,0x1000100004,1032,1032,0xdff7c889772b23cb
// hash: 0xd55f41aa770e29d0 of 32 answers
