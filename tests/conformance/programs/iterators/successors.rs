//! `successors` and `from_fn`.
//! run: threads = 64

use core::iter::{from_fn, successors};

pub fn program(thread: u32) -> (usize, u32, u32) {
    let powers = successors(Some(thread + 1), |x| x.checked_mul(3));
    let last = powers.clone().last().unwrap_or(0);
    let mut left = thread;
    let digits = from_fn(|| {
        (left > 0).then(|| {
            let digit = left % 7;
            left /= 7;
            digit
        })
    });
    (powers.count(), last, digits.fold(0, |h, d| h * 7 + d))
}

// expect: 21,0xcfd41b91,0 20,0x8a8d67b6,1 20,0xcfd41b91,2 19,0x5c5e4524,3 19,0x7375d66d,4
// expect: 19,0x8a8d67b6,5 19,0xa1a4f8ff,6 19,0xb8bc8a48,1
// hash: 0x2e5a978bf9adc6c6 of 64 answers
