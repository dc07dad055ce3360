//! Masks of lanes below, up to, above and from the own one.
//! run: threads = 64
//! device

use raddle::device::{lane_mask_eq, lane_mask_ge, lane_mask_gt, lane_mask_le, lane_mask_lt};

pub fn program(thread: u32) -> [u32; 6] {
    [lane_mask_eq(), lane_mask_lt(), lane_mask_le(), lane_mask_gt(), lane_mask_ge(), thread]
}

// expect: 1,0,1,0xfffffffe,0xffffffff,0 2,1,3,0xfffffffc,0xfffffffe,1
// expect: 4,3,7,0xfffffff8,0xfffffffc,2 8,7,15,0xfffffff0,0xfffffff8,3
// expect: 16,15,31,0xffffffe0,0xfffffff0,4 32,31,63,0xffffffc0,0xffffffe0,5
// expect: 64,63,127,0xffffff80,0xffffffc0,6 128,127,255,0xffffff00,0xffffff80,7
// hash: 0x678f1f263b002d0d of 64 answers
