//! `get`, `get_mut`, `first`, `last` beyond the ends.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u32>, Option<u32>, u32) {
    let mut values = [5, 6, 7, 8];
    let n = thread as usize % 7;
    if let Some(value) = values.get_mut(n) {
        *value *= thread;
    }
    let slice = values.get(n..).unwrap_or_default();
    (slice.first().copied(), slice.last().copied(), values.iter().sum())
}

// expect: 1,0,1,8,21 1,6,1,8,26 1,14,1,8,33 1,24,1,24,42 0,0,0,0,26 0,0,0,0,26 0,0,0,0,26
// expect: 1,35,1,8,56
// hash: 0xc6fe65751fd719b4 of 64 answers
