//! An assertion in a loop, with the loop's own variables in its message.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let mut sum = 0u32;
    for i in 0..40 {
        let value = (thread * 7 + i * 13) % 97;
        assert!(thread != 28 || value != 3, "round {i}: {value} after {sum}"); //~ PANIC
        sum += value;
    }
    sum
}

// panic: thread 28: round 15: 3 after 716
