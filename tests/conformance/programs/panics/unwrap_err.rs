//! `unwrap` on `Err` shows the error with `Debug`.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let value: Result<u32, u32> = if thread == 33 { Err(7) } else { Ok(thread) };
    value.unwrap() //~ PANIC
}

// panic: thread 33: called `Result::unwrap()` on an `Err` value: 7
