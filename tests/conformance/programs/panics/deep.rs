//! A panic far down a chain of calls that are not inlined.
//! run: threads = 64
//! panics

#[inline(never)]
fn third(n: u32) -> u32 {
    match n {
        19 => panic!("deep"), //~ PANIC
        n => n + 1,
    }
}

#[inline(never)]
fn second(n: u32) -> u32 {
    third(n) + third(n + 100)
}

pub fn program(thread: u32) -> u32 {
    second(thread * 2 + 1)
}

// panic: thread 9: deep
