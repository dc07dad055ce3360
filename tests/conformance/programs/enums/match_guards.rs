//! Guards are tried in order.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let pair = (thread % 7, thread / 7);
    match pair {
        (a, b) if a == b => 1,
        (a, _) if a % 2 == 0 && a > 3 => 2,
        (0, b) | (b, 0) if b > 5 => 30 + b,
        (a, b) if a + b == 9 => 4,
        _ => 5,
    }
}

// expect: 1 5 5 5 2 5 2 5
// hash: 0xba220ae5779b2f21 of 64 answers
