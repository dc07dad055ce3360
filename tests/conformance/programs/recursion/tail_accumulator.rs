//! Tail calls with accumulators, written as recursion.
//! run: threads = 64

fn reverse(n: u64, reversed: u64) -> u64 {
    if n == 0 { reversed } else { reverse(n / 10, reversed * 10 + n % 10) }
}

fn digits(n: u64, count: u32) -> u32 {
    if n < 10 { count + 1 } else { digits(n / 10, count + 1) }
}

pub fn program(thread: u32) -> (u64, u32) {
    let n = u64::from(thread).pow(3) * 7 + 1;
    (reverse(n, 0), digits(n, 0))
}

// expect: 1,1 8,1 75,2 91,3 944,3 678,3 3151,4 2042,4
// hash: 0x9be14f07d1d029b6 of 64 answers
