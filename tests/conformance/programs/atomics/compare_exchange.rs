//! A loop around compare-and-exchange multiplies into a cell.
//! run: threads = 32, block = 32
//! device

use raddle::device::shared;
use raddle::device::{AcqRel, Atomic, BlockScope, Relaxed, barrier};

pub fn program(thread: u32) -> (u64, bool) {
    let mut cell = shared!([Atomic<u64, BlockScope>; 1]);
    let [cell] = cell.fill_atomic(|_| 1);
    let mut old = cell.load(Relaxed);
    let mut is_first_try = 0;
    while let Err(found) =
        cell.compare_exchange(old, old.wrapping_mul(u64::from(thread) * 2 + 3), AcqRel)
    {
        old = found;
        is_first_try += 1;
    }
    barrier();
    (cell.load(Relaxed), is_first_try < 1_000_000)
}

// expect: 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1
// expect: 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1 0x4e4d7b02dcc2fe81,1
// hash: 0x38fb65233e983ea5 of 32 answers
