//! Each instance of a generic function has a shared variable of its own.
//! run: threads = 64, block = 32
//! device

use raddle::device::shared;
use raddle::device::{AnyBits, thread_x};

fn neighbour<T: AnyBits, const STEP: usize>(value: T) -> T {
    let mut slots = shared!([T; 32]);
    slots.gather(value)[(thread_x() as usize + STEP) % 32]
}

pub fn program(thread: u32) -> (u32, u32, u64) {
    let a = neighbour::<u32, 1>(thread);
    let b = neighbour::<u32, 5>(a * 2);
    (a, b, neighbour::<u64, 1>(u64::from(b) << 32))
}

// expect: 1,12,0xe00000000 2,14,0x1000000000 3,16,0x1200000000 4,18,0x1400000000 5,20,0x1600000000
// expect: 6,22,0x1800000000 7,24,0x1a00000000 8,26,0x1c00000000
// hash: 0x9c64efebeffb40a5 of 64 answers
