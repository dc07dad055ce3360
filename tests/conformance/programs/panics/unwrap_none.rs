//! `unwrap` on `None`.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let value = (thread != 11).then_some(thread);
    value.unwrap() //~ PANIC
}

// panic: thread 11: called `Option::unwrap()` on a `None` value
