//! Shuffles of 8- to 64-bit numbers and arrays.
//! run: threads = 64
//! device

use raddle::device::{shuffle, shuffle_xor};

pub fn program(thread: u32) -> (u8, u64, f64, [u32; 3]) {
    let wide = u64::from(thread).wrapping_mul(0x0123_4567_89ab_cdef);
    (
        shuffle_xor(thread as u8, 1),
        shuffle(wide, thread / 2),
        shuffle_xor(f64::from(thread) * 0.1, 16),
        shuffle([thread, thread + 100, thread + 200], 7),
    )
}

// expect: 1,0,1.6,7,107,207 0,0,1.7000000000000002,7,107,207 3,0x123456789abcdef,1.8,7,107,207
// expect: 2,0x123456789abcdef,1.9000000000000001,7,107,207 5,0x2468acf13579bde,2.0,7,107,207
// expect: 4,0x2468acf13579bde,2.1,7,107,207 7,0x369d0369d0369cd,2.2,7,107,207
// expect: 6,0x369d0369d0369cd,2.3000000000000003,7,107,207
// hash: 0xdc00ad1db1705dfd of 64 answers
