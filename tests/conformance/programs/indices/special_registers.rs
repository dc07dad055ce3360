//! Indices of threads, warps and blocks.
//! run: threads = 128, block = 64
//! device

use raddle::device::{block_dim_x, block_x, global_x, grid_dim_x, lane, thread_x, warp};

pub fn program(thread: u32) -> [u32; 8] {
    [thread, thread_x(), block_x(), block_dim_x(), grid_dim_x(), lane(), warp(), global_x() as u32]
}

// expect: 0,0,0,64,2,0,0,0 1,1,0,64,2,1,0,1 2,2,0,64,2,2,0,2 3,3,0,64,2,3,0,3 4,4,0,64,2,4,0,4
// expect: 5,5,0,64,2,5,0,5 6,6,0,64,2,6,0,6 7,7,0,64,2,7,0,7
// hash: 0x4bdbfde559bd4b25 of 128 answers
