//! Alignment beyond that of the fields.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C, align(16))]
#[derive(Clone, Copy, DeviceType)]
struct Aligned {
    a: u32,
    b: u8,
}

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct HoldsAligned {
    a: u8,
    inner: Aligned,
    b: u16,
}

pub fn program(thread: u32) -> (Layout, Layout) {
    (
        layout!(Aligned { a: thread, b: 7 }),
        layout!(HoldsAligned { a: 1, inner.a: !thread, inner.b: 5, b: thread as u16 }),
    )
}

// expect: 0x1000100010,4,4,0xa85594d85094ba52,0x3000300010,1053728,1053728,0x9417e377bfe19475
// expect: 0x1000100010,4,4,0x43de8650f31c1373,0x3000300010,1053728,1053728,0x1112a9c704746955
// expect: 0x1000100010,4,4,0x7143b1e70b860810,0x3000300010,1053728,1053728,0xbd7805e6cfdfcaf5
// expect: 0x1000100010,4,4,0xccca35fae0d6131,0x3000300010,1053728,1053728,0xb18a1c33d6fd8fd5
// expect: 0x1000100010,4,4,0x16795abadab21ed6,0x3000300010,1053728,1053728,0xe3a6d2e0753927ed
// expect: 0x1000100010,4,4,0xb2024c337d3977f7,0x3000300010,1053728,1053728,0xd7b8e92d7c56eccd
// expect: 0x1000100010,4,4,0xdf6777c995a36c94,0x3000300010,1053728,1053728,0x73bf6ae5295d546d
// expect: 0x1000100010,4,4,0x7af06942382ac5b5,0x3000300010,1053728,1053728,0xcaf1ecb0e6c0554d
// hash: 0x1b218bdd2fae44f9 of 32 answers
