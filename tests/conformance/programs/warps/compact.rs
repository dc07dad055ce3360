//! A warp packs the values that pass a test, by ballot and population count.
//! run: threads = 64
//! device

use raddle::device::{ballot, lane_mask_lt, shuffle};

pub fn program(thread: u32) -> (u32, u32) {
    let passes = thread * 11 % 7 < 3;
    let voters = ballot(passes);
    let place = (voters & lane_mask_lt()).count_ones();
    // Lane `n` looks for the lane of the n-th set bit.
    let mut rest = voters;
    for _ in 0..thread % 32 {
        rest &= rest.wrapping_sub(1);
    }
    let packed = shuffle(thread, rest.trailing_zeros() % 32);
    (if passes { place } else { 99 }, if rest == 0 { 0 } else { packed })
}

// expect: 0,0 99,2 1,4 99,7 2,9 99,11 99,14 3,16
// hash: 0x8205d2b16dbbd78c of 64 answers
