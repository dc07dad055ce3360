//! Solutions of the queens problem by recursion over bit masks.
//! run: threads = 64

fn solve(columns: u32, left: u32, right: u32, all: u32) -> u32 {
    if columns == all {
        return 1;
    }
    let mut free = all & !(columns | left | right);
    let mut count = 0;
    while free != 0 {
        let bit = free & free.wrapping_neg();
        free ^= bit;
        count += solve(columns | bit, (left | bit) << 1, (right | bit) >> 1, all);
    }
    count
}

pub fn program(thread: u32) -> u32 {
    solve(0, 0, 0, (1 << (thread % 7 + 1)) - 1)
}

// expect: 1 0 0 2 10 4 40 1
// hash: 0x586e772cff69e601 of 64 answers
