//! `expect` on `Err` shows the message and the error.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u8 {
    let word = if thread == 3 { 300 } else { thread };
    u8::try_from(word).expect("a byte") //~ PANIC
}

// panic: thread 3: a byte: TryFromIntError(())
