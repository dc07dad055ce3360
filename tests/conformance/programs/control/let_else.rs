//! `let … else` leaves when a pattern does not match.
//! run: threads = 64

fn middle(values: &[u32]) -> u32 {
    let [first, .., last] = values else { return 1_000 };
    let Some(middle) = values.get(values.len() / 2) else { return 2_000 };
    first + 10 * middle + 100 * last
}

pub fn program(thread: u32) -> u32 {
    let values = [thread, thread + 1, thread + 2, thread + 3];
    middle(&values[..thread as usize % 5])
}

// expect: 1000 1000 332 543 764 1000 1000 887
// hash: 0x784fff9735e6567b of 64 answers
