//! `assert!` with and without a message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    assert!(thread < 1000, "never");
    assert!(thread * 2 != 30); //~ PANIC
    thread
}

// panic: thread 15: assertion failed: thread * 2 != 30
