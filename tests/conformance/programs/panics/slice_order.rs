//! A range that starts behind its end.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> usize {
    let values = [0u8; 64];
    let start = if thread == 7 { 60 } else { 1 };
    values[start..40].len() //~ PANIC
}

// panic: thread 7: slice index starts at 60 but ends at 40
