//! Remainder by zero of signed numbers.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> i64 {
    let by = i64::from(thread) - 8;
    -77 % by //~ PANIC
}

// panic: thread 8: attempt to calculate the remainder with a divisor of zero
