//! Votes and ballots.
//! run: threads = 64
//! device

use raddle::device::{Lanes, ballot, warp_all, warp_any};

pub fn program(thread: u32) -> (bool, bool, u32, bool) {
    (
        warp_all(thread < 40),
        warp_any(thread == 33),
        ballot(thread * 7 % 5 < 2),
        Lanes::ALL.uniform(thread / 32 == 1),
    )
}

// expect: 1,0,0x5294a529,1 1,0,0x5294a529,1 1,0,0x5294a529,1 1,0,0x5294a529,1 1,0,0x5294a529,1
// expect: 1,0,0x5294a529,1 1,0,0x5294a529,1 1,0,0x5294a529,1
// hash: 0xe6a56f58c9550ca5 of 64 answers
