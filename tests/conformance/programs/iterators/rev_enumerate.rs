//! `rev` and `enumerate` in both orders.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let values: [u32; 9] = core::array::from_fn(|i| (thread * 5 + i as u32 * 3) % 17);
    let a = values.iter().rev().enumerate().map(|(i, x)| i as u32 * x).sum();
    let b = values.iter().enumerate().rev().fold(1, |h, (i, x)| h * 5 % 9973 + i as u32 + x);
    (a, b)
}

// expect: 201,9419 262,3527 357,815 299,6582 258,4971 285,214 346,7459 237,9023
// hash: 0x8af46cd0010ad95f of 64 answers
