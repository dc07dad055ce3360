//! `chain`, `cycle`, `once`, `repeat`.
//! run: threads = 64

use core::iter::{once, repeat, repeat_n};

pub fn program(thread: u32) -> (u32, u32, u32) {
    let a = once(thread).chain(1..4).chain(repeat(9).take(2)).fold(0, |h, x| h * 11 % 10_007 + x);
    let b = [1, 2, 3].iter().cycle().skip(thread as usize).take(5).fold(0, |h, x| h * 10 + x);
    let c = repeat_n(thread, 3).chain(once(1)).sum();
    (a, b, c)
}

// expect: 7767,12312,1 8706,23123,4 9645,31231,7 577,12312,10 1516,23123,13 2455,31231,16
// expect: 3394,12312,19 4333,23123,22
// hash: 0x0714b7de7cac461e of 64 answers
