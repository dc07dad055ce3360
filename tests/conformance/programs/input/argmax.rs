//! The largest element and its place, ties to the first.
//! run: threads = 64
//! input: i8 x 128

pub fn program(thread: u32, input: &[i8]) -> (usize, i8) {
    let window = &input[thread as usize..][..30];
    let mut best = 0;
    for (at, value) in window.iter().enumerate() {
        if *value > window[best] {
            best = at;
        }
    }
    (best, window[best])
}

// expect: 12,123 11,123 10,123 9,123 8,123 7,123 6,123 5,123
// hash: 0x0172f9ee7d08a899 of 64 answers
