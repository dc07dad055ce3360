//! Reductions and scans over the warp.
//! run: threads = 64
//! device

use raddle::device::{warp_exclusive_scan, warp_inclusive_scan, warp_reduce};

pub fn program(thread: u32) -> (u32, u32, u32, f32) {
    (
        warp_reduce(thread, |a, b| a.wrapping_mul(3) + b),
        warp_inclusive_scan(thread % 7, |a, b| a + b),
        warp_exclusive_scan(thread, 1000, u32::max),
        warp_reduce(0.1 + thread as f32, |a, b| a + b),
    )
}

// expect: 7936,0,1000,499.2 7936,1,0,499.2 7936,3,1,499.2 7936,6,2,499.2 7936,10,3,499.2
// expect: 7936,15,4,499.2 7936,21,5,499.2 7936,21,6,499.2
// hash: 0x80f6091841236d64 of 64 answers
