//! `assert_eq!` shows both sides.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let half = thread / 2;
    assert_eq!(half == 6, thread == 12); //~ PANIC
    thread
}

// panic: thread 13: assertion `left == right` failed\n  left: true\n right: false
