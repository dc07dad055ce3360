//! Lanes that took another branch take no part in the vote of the rest.
//! run: threads = 64, block = 64
//! device

use raddle::device::{Lanes, lane};

pub fn program(thread: u32) -> (u32, u32) {
    if lane() >= 20 {
        return (7, thread);
    }
    let lanes = Lanes::of((1 << 20) - 1);
    (lanes.ballot(thread % 2 == 0), lanes.redux_add(thread))
}

// expect: 349525,190 349525,190 349525,190 349525,190 349525,190 349525,190 349525,190 349525,190
// hash: 0x1598afc71c8ef40d of 64 answers
