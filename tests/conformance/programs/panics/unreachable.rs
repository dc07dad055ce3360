//! `unreachable!` in a `match`.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    match thread {
        0..=49 => 1,
        51.. => 2,
        _ => unreachable!(), //~ PANIC
    }
}

// panic: thread 50: internal error: entered unreachable code
