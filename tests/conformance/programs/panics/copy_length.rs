//! `copy_from_slice` of another length.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let mut to = [0; 4];
    let from = [1, 2, 3, 4];
    let len = if thread == 17 { 3 } else { 4 };
    to.copy_from_slice(&from[..len]); //~ PANIC
    to[3]
}

// panic: thread 17: copy_from_slice: source slice length (3) does not match destination slice length (4)
