//! `panic!` with numbers in its message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    if thread == 21 {
        panic!("thread {thread} of {} failed", 64); //~ PANIC
    }
    thread
}

// panic: thread 21: thread 21 of 64 failed
