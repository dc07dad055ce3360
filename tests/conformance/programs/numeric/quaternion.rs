//! Quaternions rotate vectors; a full turn by quarter turns comes back exactly.
//! run: threads = 64

use core::ops::Mul;

#[derive(Clone, Copy)]
struct Quaternion {
    w: f32,
    v: [f32; 3],
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

impl Mul for Quaternion {
    type Output = Self;
    fn mul(self, q: Self) -> Self {
        let c = cross(self.v, q.v);
        Quaternion {
            w: self.w * q.w - dot(self.v, q.v),
            v: core::array::from_fn(|i| self.w * q.v[i] + q.w * self.v[i] + c[i]),
        }
    }
}

impl Quaternion {
    fn rotate(self, v: [f32; 3]) -> [f32; 3] {
        let conjugate = Quaternion { w: self.w, v: self.v.map(|x| -x) };
        (self * Quaternion { w: 0.0, v } * conjugate).v
    }
}

pub fn program(thread: u32) -> ([f32; 3], f32) {
    // (1 + i)² is a half turn times two: scale stays a power of two.
    let turn = Quaternion { w: 1.0, v: [1.0, 0.0, 0.0] };
    let v = [thread as f32, 2.0, -3.5];
    let rotated = (0..thread % 5).fold(v, |v, _| turn.rotate(v).map(|x| x * 0.5));
    (rotated, dot(rotated, rotated))
}

// expect: 0.0,2.0,-3.5,16.25 1.0,3.5,2.0,17.25 2.0,-2.0,3.5,20.25 3.0,-3.5,-2.0,25.25
// expect: 4.0,2.0,-3.5,32.25 5.0,2.0,-3.5,41.25 6.0,3.5,2.0,52.25 7.0,-2.0,3.5,65.25
// hash: 0x0eb5480dc240bf84 of 64 answers
