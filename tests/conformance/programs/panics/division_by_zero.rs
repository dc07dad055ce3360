//! Division by zero.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let by = thread.abs_diff(30);
    1000 / by //~ PANIC
}

// panic: thread 30: attempt to divide by zero
