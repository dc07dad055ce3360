//! `panic!` with a constant message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    if thread == 63 {
        panic!("the last thread gives up"); //~ PANIC
    }
    thread
}

// panic: thread 63: the last thread gives up
