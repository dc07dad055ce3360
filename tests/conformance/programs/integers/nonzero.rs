//! `NonZero` integers fit `Option` without a flag.
//! run: threads = 64

use core::num::NonZeroU32;

pub fn program(thread: u32) -> (u32, u32, usize) {
    let step = NonZeroU32::new(thread % 5);
    let quotient = step.map_or(9999, |step| 1000 / step);
    let zeros = step.map_or(0, |step| step.trailing_zeros());
    (quotient, zeros, size_of::<Option<NonZeroU32>>())
}

// expect: 9999,0,4 1000,0,4 500,1,4 333,0,4 250,2,4 9999,0,4 1000,0,4 500,1,4
// hash: 0x21b6c511275a7386 of 64 answers
