//! A range beyond the end of a slice in memory.
//! run: threads = 64
//! panics
//! input: u32 x 64

pub fn program(thread: u32, input: &[u32]) -> u32 {
    let end = if thread == 40 { 65 } else { 64 };
    input[thread as usize..end].iter().fold(0, |h, x| h ^ x) //~ PANIC
}

// panic: thread 40: range end index 65 out of range for slice of length 64
