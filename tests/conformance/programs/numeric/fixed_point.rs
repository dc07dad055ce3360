//! Q16.16 arithmetic with rounding.
//! run: threads = 64

use core::ops::{Add, Div, Mul};

#[derive(Clone, Copy, PartialEq, PartialOrd)]
struct Fixed(i32);

impl From<i32> for Fixed {
    fn from(n: i32) -> Self {
        Fixed(n << 16)
    }
}

impl Add for Fixed {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Fixed(self.0 + other.0)
    }
}

impl Mul for Fixed {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Fixed(((i64::from(self.0) * i64::from(other.0) + 0x8000) >> 16) as i32)
    }
}

impl Div for Fixed {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Fixed(((i64::from(self.0) << 16) / i64::from(other.0)) as i32)
    }
}

fn square_root(x: Fixed) -> Fixed {
    (0..20).fold(x + Fixed::from(1), |r, _| (r + x / r) * Fixed(0x8000))
}

pub fn program(thread: u32) -> (i32, i32, bool) {
    let x = Fixed::from(thread as i32) / Fixed::from(7);
    let root = square_root(x + Fixed(100));
    ((x * x).0, root.0, root * root < x + Fixed::from(1))
}

// expect: 0,2560,1 1337,24902,1 5350,35123,1 12036,42979,1 21399,49607,1 33436,55447,1
// expect: 48148,60728,1 65536,65586,1
// hash: 0x088ed28a725434a2 of 64 answers
