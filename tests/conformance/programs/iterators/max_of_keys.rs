//! A histogram and its mode.
//! run: threads = 64
//! input: u8 x 512

pub fn program(thread: u32, input: &[u8]) -> (usize, u32) {
    let mut bins = [0u32; 16];
    for byte in input.iter().skip(thread as usize * 4).take(128) {
        bins[usize::from(byte >> 4)] += 1;
    }
    let (mode, count) = bins.iter().enumerate().max_by_key(|(_, count)| **count).expect("16 bins");
    (mode, *count)
}

// expect: 10,13 10,13 10,13 10,13 10,12 7,12 7,12 12,13
// hash: 0xe5f5287fa7fa0cf0 of 64 answers
