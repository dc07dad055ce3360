//! One shared array is filled again after it was read.
//! run: threads = 96, block = 32
//! device

use raddle::device::shared;
use raddle::device::thread_x;

pub fn program(thread: u32) -> (u32, u32) {
    let mut tile = shared!([u32; 100]);
    let first = tile.fill(|i| i as u32 * 3);
    let a = first[99 - thread_x() as usize] + first[50];
    let second = tile.fill(|i| i as u32 ^ 0x55);
    (a, second[thread as usize % 100])
}

// expect: 447,85 444,84 441,87 438,86 435,81 432,80 429,83 426,82
// hash: 0xcdb6827dbadca305 of 96 answers
