//! Slices of length zero at the ends of memory.
//! run: threads = 64
//! input: u16 x 64

pub fn program(thread: u32, input: &[u16]) -> (usize, u32, bool) {
    let tail = &input[thread as usize + 1..];
    let middle = &tail[tail.len() / 2..];
    let empty = &input[64..];
    (
        tail.len(),
        middle.iter().map(|x| u32::from(*x)).sum(),
        empty.is_empty() && empty.first().is_none(),
    )
}

// expect: 63,975615,1 62,927823,1 61,927823,1 60,877350,1 59,877350,1 58,826415,1 57,826415,1
// expect: 56,824172,1
// hash: 0x7bf01c3ad8ce2a7e of 64 answers
