//! Absolute differences of signed and unsigned numbers.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u8, u32, u64, i32) {
    let t = thread as i32;
    (
        thread.abs_diff(30),
        (t as i8).abs_diff(-100),
        (t - 32).unsigned_abs(),
        (i64::MIN + i64::from(t)).abs_diff(i64::MAX),
        (30 - t).signum(),
    )
}

// expect: 30,100,32,0xffffffffffffffff,1 29,101,31,0xfffffffffffffffe,1
// expect: 28,102,30,0xfffffffffffffffd,1 27,103,29,0xfffffffffffffffc,1
// expect: 26,104,28,0xfffffffffffffffb,1 25,105,27,0xfffffffffffffffa,1
// expect: 24,106,26,0xfffffffffffffff9,1 23,107,25,0xfffffffffffffff8,1
// hash: 0x40d0c7e600c47a03 of 64 answers
