//! `panic!` with integers of all sizes, radices and paddings.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    if thread == 22 {
        let (a, b, c) = (-(thread as i8), i128::MIN + i128::from(thread), thread as u16);
        let width = 6;
        panic!("{a} {b} {c:#06x} {c:b} {a:x} {c:<5}|{c:^5}|{c:>+5}| {:>width$} {c:x?}", c); //~ PANIC
    }
    thread
}

// panic: thread 22: -22 -170141183460469231731687303715884105706 0x0016 10110 ea 22   | 22  |  +22|     22 16
