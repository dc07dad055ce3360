//! `unwrap_err` on `Ok` shows the value.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let value: Result<(u8, bool), u32> = if thread == 40 { Ok((7, true)) } else { Err(thread) };
    value.unwrap_err() //~ PANIC
}

// panic: thread 40: called `Result::unwrap_err()` on an `Ok` value: (7, true)
