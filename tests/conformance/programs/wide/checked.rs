//! Overflow of 128-bit operations is noticed.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u128>, Option<i128>, bool) {
    let x = 3u128.checked_pow(thread + 30);
    let y = (i128::MAX >> thread).checked_mul(1 << (thread / 2));
    let (_, over) = (u128::MAX >> thread).overflowing_mul(1 << (thread / 2 + 3));
    (x.map(|x| x >> 1), y, over)
}

// expect: 1,0,0x5da0e1e53c5c,1,0x7fffffffffffffff,0xffffffffffffffff,1
// expect: 1,0,0x118e2a5afb515,1,0x3fffffffffffffff,0xffffffffffffffff,1
// expect: 1,0,0x34aa7f10f1f40,1,0x3fffffffffffffff,0xfffffffffffffffe,1
// expect: 1,0,0x9dff7d32d5dc1,1,0x1fffffffffffffff,0xfffffffffffffffe,1
// expect: 1,0,0x1d9fe779881944,1,0x1fffffffffffffff,0xfffffffffffffffc,1
// expect: 1,0,0x58dfb66c984bcd,1,0xfffffffffffffff,0xfffffffffffffffc,0
// expect: 1,0,0x10a9f2345c8e368,1,0xfffffffffffffff,0xfffffffffffffff8,0
// expect: 1,0,0x31fdd69d15aaa39,1,0x7ffffffffffffff,0xfffffffffffffff8,0
// hash: 0x33875cbfa16bf5ca of 64 answers
