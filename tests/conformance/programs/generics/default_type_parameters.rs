//! Default type parameters and operators with another right side.
//! run: threads = 64

use core::ops::Add;

#[derive(Clone, Copy)]
struct Money {
    cents: i64,
}

impl Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Money { cents: self.cents + other.cents }
    }
}

impl Add<f32> for Money {
    type Output = Self;
    fn add(self, percent: f32) -> Self {
        Money { cents: self.cents + (self.cents as f32 * percent / 100.0) as i64 }
    }
}

fn add_all<A, B, C>(a: A, b: B, c: C) -> A
where
    A: Add<B, Output = A> + Add<C, Output = A>,
{
    a + b + c
}

pub fn program(thread: u32) -> (i64, i64) {
    let money = Money { cents: i64::from(thread) * 99 };
    (add_all(money, money, 25.0).cents, add_all(money, 10.0, money).cents)
}

// expect: 0,0 247,207 495,415 742,623 990,831 1237,1039 1485,1247 1732,1455
// hash: 0x7372a0ffdc5d4720 of 64 answers
