//! Complex arithmetic by operators; powers of `i` cycle.
//! run: threads = 64

use core::ops::{Add, Div, Mul};

#[derive(Clone, Copy, PartialEq)]
struct Complex<T>(T, T);

impl<T: Add<Output = T>> Add for Complex<T> {
    type Output = Self;
    fn add(self, z: Self) -> Self {
        Complex(self.0 + z.0, self.1 + z.1)
    }
}

impl Mul for Complex<f64> {
    type Output = Self;
    fn mul(self, z: Self) -> Self {
        Complex(self.0 * z.0 - self.1 * z.1, self.0 * z.1 + self.1 * z.0)
    }
}

impl Div for Complex<f64> {
    type Output = Self;
    fn div(self, z: Self) -> Self {
        let norm = z.0 * z.0 + z.1 * z.1;
        let Complex(re, im) = self * Complex(z.0, -z.1);
        Complex(re / norm, im / norm)
    }
}

pub fn program(thread: u32) -> (f64, f64, bool) {
    let z = Complex(f64::from(thread) * 0.125, 1.0);
    let power = (0..thread % 6).fold(Complex(1.0, 0.0), |p, _| p * z);
    let i = (0..thread).fold(Complex(1.0, 0.0), |p, _| p * Complex(0.0, 1.0));
    let quotient = (power + Complex(1.0, 2.0)) / z;
    (quotient.0, quotient.1, i == Complex(1.0, 0.0))
}

// expect: 2.0,-2.0,1 3.0923076923076924,-0.7384615384615385,0
// expect: 2.3676470588235294,0.5294117647058824,0 1.222816780821918,0.5308219178082192,0
// expect: 0.625,-0.25,1 0.6964783400632022,-1.3436622191011236,0 2.24,-0.32,0
// expect: 2.6283185840707963,0.4247787610619469,0
// hash: 0x7dd6474989093ad3 of 64 answers
