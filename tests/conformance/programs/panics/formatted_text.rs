//! `panic!` with strings, characters and truth values.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let names = ["zero", "one", "two\n", "thr\u{e9}e"];
    if thread == 23 {
        let (name, other) = (names[thread as usize % 4], names[2]);
        let (letter, is_odd) = (char::from(b'a' + thread as u8), thread % 2 == 1);
        let (a, b, c) = (name, letter, is_odd);
        panic!("{a} {a:?} {other:?} {b} {b:?} {c} {a:>7} {a:.3}|{c:6}|"); //~ PANIC
    }
    thread
}

// panic: thread 23: thrée "thrée" "two\n" x 'x' true   thrée thr|true  |
