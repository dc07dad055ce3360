//! Block reductions with several operations.
//! run: threads = 192, block = 96
//! device

use raddle::device::{block_all_reduce, block_reduce};

pub fn program(thread: u32) -> (Option<u32>, u32, i32) {
    let first = block_reduce(thread, |a, b| a + b);
    let top = block_all_reduce(thread.wrapping_mul(0x9e37_79b9) >> 20, u32::max);
    let least = block_all_reduce(thread as i32 * 7 % 31 - 15, |a, b| a.min(b));
    (first, top, least)
}

// expect: 1,4560,4062,-15 0,0,4062,-15 0,0,4062,-15 0,0,4062,-15 0,0,4062,-15 0,0,4062,-15
// expect: 0,0,4062,-15 0,0,4062,-15
// hash: 0xdcc8920511560325 of 192 answers
