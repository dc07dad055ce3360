//! Catalan numbers by their recurrence.
//! run: threads = 64

fn catalan(n: u32) -> u64 {
    if n < 2 { 1 } else { (0..n).map(|i| catalan(i) * catalan(n - 1 - i)).sum() }
}

pub fn program(thread: u32) -> u64 {
    catalan(thread % 9)
}

// expect: 1 1 2 5 14 42 132 429
// hash: 0xab15989905d8cdc8 of 64 answers
