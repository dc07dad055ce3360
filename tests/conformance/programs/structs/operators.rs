//! Overloaded `+ - * / -` and their assigning forms.
//! run: threads = 64

use core::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

#[derive(Clone, Copy)]
struct Vec2(f32, f32);

impl Add for Vec2 {
    type Output = Self;
    fn add(self, v: Self) -> Self {
        Vec2(self.0 + v.0, self.1 + v.1)
    }
}

impl Sub for Vec2 {
    type Output = Self;
    fn sub(self, v: Self) -> Self {
        self + -v
    }
}

impl Neg for Vec2 {
    type Output = Self;
    fn neg(self) -> Self {
        Vec2(-self.0, -self.1)
    }
}

impl Mul<Vec2> for f32 {
    type Output = Vec2;
    fn mul(self, v: Vec2) -> Vec2 {
        Vec2(self * v.0, self * v.1)
    }
}

impl Div<f32> for Vec2 {
    type Output = Self;
    fn div(self, by: f32) -> Self {
        Vec2(self.0 / by, self.1 / by)
    }
}

impl AddAssign for Vec2 {
    fn add_assign(&mut self, v: Self) {
        *self = *self + v;
    }
}

impl MulAssign<f32> for Vec2 {
    fn mul_assign(&mut self, by: f32) {
        *self = by * *self;
    }
}

pub fn program(thread: u32) -> (f32, f32) {
    let t = thread as f32;
    let mut v = Vec2(t, 2.0) - Vec2(0.5, t) / 3.0;
    v += 2.0 * Vec2(1.0, t);
    v *= 0.25;
    (v.0, v.1)
}

// expect: 0.45833334,0.5 0.7083333,0.9166666 0.9583334,1.3333333 1.2083333,1.75
// expect: 1.4583333,2.1666667 1.7083334,2.5833333 1.9583334,3.0 2.2083335,3.4166667
// hash: 0xfac6cce78e86529b of 64 answers
