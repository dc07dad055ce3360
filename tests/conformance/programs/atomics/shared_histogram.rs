//! A histogram by atomic additions in shared memory.
//! run: threads = 128, block = 128
//! device
//! input: u8 x 128

use raddle::device::shared;
use raddle::device::{Atomic, BlockScope, Relaxed, barrier};

pub fn program(thread: u32, input: &[u8]) -> (u32, u32) {
    let mut bins = shared!([Atomic<u32, BlockScope>; 16]);
    let bins = bins.fill_atomic(|_| 0);
    bins[usize::from(input[thread as usize] >> 4)].fetch_add(1, Relaxed);
    barrier();
    let total = bins.iter().map(|bin| bin.load(Relaxed)).sum();
    (bins[thread as usize % 16].load(Relaxed), total)
}

// expect: 10,128 9,128 6,128 7,128 8,128 6,128 10,128 11,128
// hash: 0x3e6d9d2e212bc325 of 128 answers
