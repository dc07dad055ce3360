//! `chunks_exact_mut`, `chunks_mut` and `iter_mut().rev()`.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 7] {
    let mut values = [thread; 7];
    for (i, chunk) in values.chunks_exact_mut(3).enumerate() {
        chunk[i] += 1000;
        chunk.reverse();
    }
    for chunk in values.chunks_mut(2) {
        chunk[0] ^= 1;
    }
    for (i, value) in values.iter_mut().rev().enumerate() {
        *value += i as u32;
    }
    values
}

// expect: 7,5,1005,3,1003,1,1 6,6,1004,4,1002,2,0 9,7,1007,5,1005,3,3 8,8,1006,6,1004,4,2
// expect: 11,9,1009,7,1007,5,5 10,10,1008,8,1006,6,4 13,11,1011,9,1009,7,7 12,12,1010,10,1008,8,6
// hash: 0x8c9c05346660cec9 of 64 answers
