//! `unwrap` on `Err(())`.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let value: Result<u32, ()> = if thread == 50 { Err(()) } else { Ok(thread) };
    value.unwrap() //~ PANIC
}

// panic: thread 50: called `Result::unwrap()` on an `Err` value: ()
