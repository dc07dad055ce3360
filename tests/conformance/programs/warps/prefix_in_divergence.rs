//! A divergent loop before a warp operation.
//! run: threads = 64
//! device

use raddle::device::{shuffle_up, warp_reduce};

pub fn program(thread: u32) -> (u32, u32) {
    let mut x = thread + 1;
    let mut steps = 0;
    while x != 1 {
        x = if x % 2 == 0 { x / 2 } else { 3 * x + 1 };
        steps += 1;
    }
    (warp_reduce(steps, u32::max), shuffle_up(steps, 1))
}

// expect: 111,0 111,0 111,1 111,7 111,2 111,5 111,8 111,16
// hash: 0x8b7a3e5ab6a77520 of 64 answers
