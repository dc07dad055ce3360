//! Derivatives by dual numbers.
//! run: threads = 64

use core::ops::{Add, Div, Mul};

#[derive(Clone, Copy)]
struct Dual(f64, f64);

impl Add for Dual {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        Dual(self.0 + b.0, self.1 + b.1)
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        Dual(self.0 * b.0, self.0 * b.1 + self.1 * b.0)
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        Dual(self.0 / b.0, (self.1 * b.0 - self.0 * b.1) / (b.0 * b.0))
    }
}

fn derivative(f: impl Fn(Dual) -> Dual, x: f64) -> f64 {
    f(Dual(x, 1.0)).1
}

pub fn program(thread: u32) -> (f64, f64) {
    let x = f64::from(thread) * 0.25;
    let one = Dual(1.0, 0.0);
    (derivative(|x| x * x * x + x, x), derivative(|x| one / (one + x * x), x))
}

// expect: 1.0,0.0 1.1875,-0.4429065743944637 1.75,-0.64 2.6875,-0.6144 4.0,-0.5
// expect: 5.6875,-0.38072575847709694 7.75,-0.28402366863905326 10.1875,-0.21207100591715977
// hash: 0x3c7b49a23c9d9185 of 64 answers
