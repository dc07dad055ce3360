//! `select_nth_unstable` finds the median.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut values: [u32; 15] = core::array::from_fn(|i| (thread * 13 + i as u32 * 29) % 71);
    let (below, median, above) = values.select_nth_unstable(7);
    let median = *median;
    (below.iter().copied().max().unwrap_or(0), median, above.iter().copied().min().unwrap_or(0))
}

// expect: 29,32,35 29,32,35 26,29,32 29,32,39 29,32,39 29,39,42 29,36,39 26,36,39
// hash: 0xabad5b150f286cfe of 64 answers
