//! Shuffles and reductions within segments of a warp.
//! run: threads = 64
//! device

use raddle::device::Lanes;

pub fn program(thread: u32) -> (u32, u32, u32) {
    let eights = Lanes::ALL.segments(8);
    (
        eights.shuffle(thread, 2),
        eights.reduce(thread, |a, b| a + b),
        Lanes::ALL.segments(4).inclusive_scan(thread, |a, b| a * 3 + b),
    )
}

// expect: 2,28,0 2,28,1 2,28,5 2,28,12 2,28,4 2,28,17 2,28,33 2,28,76
// hash: 0xde052cb7bcb1507e of 64 answers
