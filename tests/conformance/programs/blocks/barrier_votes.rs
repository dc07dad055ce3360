//! Barriers that count and vote.
//! run: threads = 128, block = 64
//! device

use raddle::device::{barrier_all, barrier_any, barrier_count};

pub fn program(thread: u32) -> (u32, bool, bool) {
    (barrier_count(thread % 3 == 0), barrier_all(thread < 64), barrier_any(thread == 100))
}

// expect: 22,1,0 22,1,0 22,1,0 22,1,0 22,1,0 22,1,0 22,1,0 22,1,0
// hash: 0xd5c58b5157a9b325 of 128 answers
