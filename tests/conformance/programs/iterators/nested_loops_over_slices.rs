//! Triangular loops over a slice count inversions.
//! run: threads = 64
//! input: u32 x 96

pub fn program(thread: u32, input: &[u32]) -> u32 {
    let values = &input[thread as usize..][..32];
    let mut inversions = 0;
    for (i, a) in values.iter().enumerate() {
        inversions += values[i + 1..].iter().filter(|b| *b < a).count() as u32;
    }
    inversions
}

// expect: 242 245 246 242 234 232 221 217
// hash: 0x6703c5b56b5cbcc9 of 64 answers
