//! Two functions that call each other.
//! run: threads = 64

fn even(n: u32) -> bool {
    n == 0 || odd(n - 1)
}

fn odd(n: u32) -> bool {
    n != 0 && even(n - 1)
}

pub fn program(thread: u32) -> (bool, bool) {
    (even(thread), odd(thread / 2))
}

// expect: 1,0 0,0 1,1 0,1 1,0 0,0 1,1 0,1
// hash: 0xf0588a00a3b93325 of 64 answers
