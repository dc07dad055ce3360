//! The Ackermann function on small arguments.
//! run: threads = 64

fn ackermann(m: u32, n: u32) -> u32 {
    match (m, n) {
        (0, n) => n + 1,
        (m, 0) => ackermann(m - 1, 1),
        (m, n) => ackermann(m - 1, ackermann(m, n - 1)),
    }
}

pub fn program(thread: u32) -> u32 {
    ackermann(thread % 3, thread % 5)
}

// expect: 1 3 7 4 6 3 2 4
// hash: 0x43018f3d193f0a24 of 64 answers
