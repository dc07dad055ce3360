//! `hint::black_box` keeps a value opaque.
//! run: threads = 64

use core::hint::black_box;

pub fn program(thread: u32) -> (u32, f32) {
    let a = black_box(thread) * black_box(3);
    let values = black_box([1.5f32, thread as f32]);
    (a + black_box(1), values[0] * values[1])
}

// expect: 1,0.0 4,1.5 7,3.0 10,4.5 13,6.0 16,7.5 19,9.0 22,10.5
// hash: 0xfc991bf7c104745d of 64 answers
