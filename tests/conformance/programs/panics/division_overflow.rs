//! The least number divided by minus one.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> i32 {
    let by = if thread == 3 { -1 } else { 2 };
    i32::MIN / by //~ PANIC
}

// panic: thread 3: attempt to divide with overflow
