//! Tuple structs, and one that is its only field.
//! run: threads = 32

use raddle::prelude::*;

use crate::kernels::probe::{Layout, layout};

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Tuple(u8, u32, u8, u16);

#[repr(transparent)]
#[derive(Clone, Copy, DeviceType)]
struct Metres(f64);

#[repr(C)]
#[derive(Clone, Copy, DeviceType)]
struct Path(u8, Metres, [Metres; 2]);

pub fn program(thread: u32) -> (Layout, Layout) {
    let x = f64::from(thread) + 0.5;
    (
        layout!(Tuple { 0: 1, 1: thread, 2: 2, 3: thread as u16 }),
        layout!(Path { 0: 3, 1: Metres(x), 2: [Metres(-x), Metres(x * x)] }),
    )
}

// expect: 0xc000c0004,264202,264202,0x9f19854a6eada506,0x2000200008,2064,2064,0x5bcb7a0c62349397
// expect: 0xc000c0004,264202,264202,0xbe10e653799a0bfe,0x2000200008,2064,2064,0xde5e187d1489d934
// expect: 0xc000c0004,264202,264202,0x5d2b2f3b2bbb0d56,0x2000200008,2064,2064,0x591fce3320caeec7
// expect: 0xc000c0004,264202,264202,0x7c22904436a7744e,0x2000200008,2064,2064,0x69beafc2e6616e0e
// expect: 0xc000c0004,264202,264202,0x233c012642fc0926,0x2000200008,2064,2064,0x32737e0457cb6f92
// expect: 0xc000c0004,264202,264202,0x4233622f4de8701e,0x2000200008,2064,2064,0xe97f21582b70d608
// expect: 0xc000c0004,264202,264202,0xe14dab1700097176,0x2000200008,2064,2064,0xade7ce4c3191008b
// expect: 0xc000c0004,264202,264202,0x450c200af5d86e,0x2000200008,2064,2064,0x66427641d65cbdaa
// hash: 0xaf196128335c6657 of 32 answers
