//! `FnOnce`, `FnMut` and `Fn` parameters.
//! run: threads = 64

fn once<T>(f: impl FnOnce() -> T) -> T {
    f()
}

fn repeat(times: u32, mut f: impl FnMut(u32)) {
    for i in 0..times {
        f(i);
    }
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut hash = 17u32;
    repeat(thread % 10, |i| hash = hash.wrapping_mul(31) ^ i);
    let result = once(move || hash % 1000);
    (hash, result)
}

// expect: 17,17 527,527 16336,336 506418,418 0xef8c0d,957 0x1d01f597,671 0x833cbd4c,916
// expect: 0xe45aec32,954
// hash: 0xa52c2595f80c9405 of 64 answers
