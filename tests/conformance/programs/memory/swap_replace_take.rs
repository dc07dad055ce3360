//! `mem::swap`, `mem::replace`, `mem::take`.
//! run: threads = 64

use core::mem;

#[derive(Clone, Copy, Default)]
struct Pair(u32, [u8; 3]);

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut a = Pair(thread, [1, 2, thread as u8]);
    let mut b = Pair::default();
    mem::swap(&mut a, &mut b);
    let old = mem::replace(&mut b.0, 1000);
    let taken = mem::take(&mut b);
    (a.0 + old, taken.0 + u32::from(taken.1[2]), b.0 + u32::from(b.1[0]))
}

// expect: 0,1000,0 1,1001,0 2,1002,0 3,1003,0 4,1004,0 5,1005,0 6,1006,0 7,1007,0
// hash: 0xd2a8a8cf2e16dae5 of 64 answers
