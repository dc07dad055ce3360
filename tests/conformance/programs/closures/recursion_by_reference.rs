//! A recursive closure through a function that passes itself.
//! run: threads = 64

fn fix<A, R>(f: &dyn Fn(&dyn Fn(A) -> R, A) -> R, argument: A) -> R {
    f(&|inner| fix(f, inner), argument)
}

pub fn program(thread: u32) -> u64 {
    let binomial = |recurse: &dyn Fn((u32, u32)) -> u64, (n, k): (u32, u32)| match k {
        0 => 1,
        _ if k == n => 1,
        _ => recurse((n - 1, k - 1)) + recurse((n - 1, k)),
    };
    let n = thread % 8;
    fix(&binomial, (n, n / 2))
}

// expect: 1 1 2 3 6 10 20 35
// hash: 0x1a3c37f279143b25 of 64 answers
