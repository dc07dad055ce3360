//! `assert_ne!` shows both sides and its own message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let square = thread * thread;
    assert_ne!(square, 81, "thread {thread} of {:#x}", 64); //~ PANIC
    square
}

// panic: thread 9: assertion `left != right` failed: thread 9 of 0x40\n  left: 81\n right: 81
