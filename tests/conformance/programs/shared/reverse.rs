//! A block reverses its values through shared memory.
//! run: threads = 128, block = 64
//! device

use raddle::device::shared;
use raddle::device::{block_dim_x, thread_x};

pub fn program(thread: u32) -> u32 {
    let mut all = shared!([u32; 64]);
    let all = all.gather(thread * thread);
    all[(block_dim_x() - 1 - thread_x()) as usize]
}

// expect: 3969 3844 3721 3600 3481 3364 3249 3136
// hash: 0x5d5e94b3e8994ac3 of 128 answers
