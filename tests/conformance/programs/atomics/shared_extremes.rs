//! Atomic minimum, maximum, and, or, xor: the results do not depend on the order.
//! run: threads = 64, block = 64
//! device

use raddle::device::shared;
use raddle::device::{Atomic, BlockScope, Relaxed, barrier};

pub fn program(thread: u32) -> [u32; 5] {
    let mut cells = shared!([Atomic<u32, BlockScope>; 5]);
    let cells = cells.fill_atomic(|i| if i == 0 || i == 2 { u32::MAX } else { 0 });
    let value = thread.wrapping_mul(0x9e37_79b9) >> 8;
    cells[0].fetch_min(value, Relaxed);
    cells[1].fetch_max(value, Relaxed);
    cells[2].fetch_and(!value | 0xff, Relaxed);
    cells[3].fetch_or(1 << (thread % 31), Relaxed);
    cells[4].fetch_xor(value, Relaxed);
    barrier();
    core::array::from_fn(|i| cells[i].load(Relaxed))
}

// expect: 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406
// expect: 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406
// expect: 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406
// expect: 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406 0,0xfdeb26,0xff0000ff,0x7fffffff,8319406
// hash: 0x108578612c09ce25 of 64 answers
