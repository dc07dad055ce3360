//! `expect` on `None` tells its own message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    thread.checked_sub(1).expect("thread 0 has no neighbour") //~ PANIC
}

// panic: thread 0: thread 0 has no neighbour
