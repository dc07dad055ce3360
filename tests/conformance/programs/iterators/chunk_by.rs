//! `chunk_by` splits a slice where a relation breaks.
//! run: threads = 64

pub fn program(thread: u32) -> (usize, u32) {
    let values: [u32; 12] = core::array::from_fn(|i| (thread * 7 + i as u32 * 5) % 9);
    let runs = values.chunk_by(|a, b| a <= b);
    let sums = values.chunk_by(|a, b| a <= b).map(|run| run.iter().sum::<u32>() * run.len() as u32);
    (runs.count(), sums.max().unwrap_or(0))
}

// expect: 7,22 7,22 7,22 7,22 7,22 8,22 7,22 7,22
// hash: 0x1d04578cc01bff2a of 64 answers
