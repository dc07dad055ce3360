//! Inline constants, constant patterns and array lengths from constants.
//! run: threads = 64

const SIZES: [usize; 3] = [2, 3, 5];
const TOTAL: usize = SIZES[0] * SIZES[1] + SIZES[2];

pub fn program(thread: u32) -> (u32, usize) {
    let mut buffer = [const { 7 * 3 }; TOTAL];
    buffer[thread as usize % TOTAL] += thread;
    let kind = match thread as usize {
        TOTAL => 1,
        0..TOTAL => 2,
        _ => 3,
    };
    (buffer.iter().sum::<u32>() + const { u32::MAX.count_ones() }, kind)
}

// expect: 263,2 264,2 265,2 266,2 267,2 268,2 269,2 270,2
// hash: 0x220828085a8c8c5e of 64 answers
