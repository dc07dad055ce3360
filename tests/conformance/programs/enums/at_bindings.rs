//! `@` binds what a pattern has matched.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let value = Some(thread);
    match value {
        Some(small @ 0..=9) => small,
        Some(odd @ (11 | 13 | 17 | 19)) => odd * 10,
        Some(n @ 20..) if n % 4 == 0 => n * 100,
        whole @ Some(_) => whole.map_or(0, |n| n * 1000),
        None => 7,
    }
}

// expect: 0 1 2 3 4 5 6 7
// hash: 0x40d29ddbe81897d9 of 64 answers
