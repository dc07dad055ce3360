//! Bounds on associated items and on references to a type.
//! run: threads = 64

use core::iter::Sum;
use core::ops::Mul;

fn norm_squared<'a, V, T>(vector: &'a V) -> T
where
    &'a V: IntoIterator<Item = &'a T>,
    T: 'a + Sum<T>,
    &'a T: Mul<&'a T, Output = T>,
{
    vector.into_iter().map(|x| x * x).sum()
}

pub fn program(thread: u32) -> (u32, f64, i64) {
    let a = [thread, 2, 3];
    let b = [f64::from(thread) * 0.5, -1.5];
    let c = Some(i64::from(thread) - 40);
    (norm_squared(&a), norm_squared(&b), norm_squared(&c))
}

// expect: 13,2.25,1600 14,2.5,1521 17,3.25,1444 22,4.5,1369 29,6.25,1296 38,8.5,1225 49,11.25,1156
// expect: 62,14.5,1089
// hash: 0xf7f9440cf339a7eb of 64 answers
