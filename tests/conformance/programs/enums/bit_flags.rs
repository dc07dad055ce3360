//! Constants in patterns, and flags as masks.
//! run: threads = 64

const READ: u32 = 1;
const WRITE: u32 = 2;
const BOTH: u32 = READ | WRITE;

fn describe(flags: u32) -> u32 {
    match flags & BOTH {
        0 => 10,
        READ => 20,
        WRITE => 30,
        BOTH => 40,
        _ => unreachable!("masked to two bits"),
    }
}

pub fn program(thread: u32) -> u32 {
    describe(thread) + describe(thread >> 2) * 100 + describe(thread >> 4) * 10_000
}

// expect: 101010 101020 101030 101040 102010 102020 102030 102040
// hash: 0x50a3d84d1ec6b7aa of 64 answers
