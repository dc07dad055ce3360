//! Vectors and matrices of the `glam` crate with its scalar back end.
//! run: threads = 64

use glam::{Mat3, Vec3};

pub fn program(thread: u32) -> ([f32; 3], f32, bool) {
    let v = Vec3::new(thread as f32, 2.0, -0.5);
    let m = Mat3::from_cols(Vec3::X * 2.0, Vec3::new(0.0, 1.0, 1.0), Vec3::splat(0.25));
    let moved = m * v.cross(Vec3::Y) + v.min(Vec3::splat(9.0));
    (moved.to_array(), v.dot(moved), m.determinant() == 1.5 && v.max_element() >= 2.0)
}

// expect: 1.0,2.0,-0.5,4.25,0 2.25,2.25,-0.25,6.875,0 3.5,2.5,0.0,12.0,0 4.75,2.75,0.25,19.625,0
// expect: 6.0,3.0,0.5,29.75,0 7.25,3.25,0.75,42.375,0 8.5,3.5,1.0,57.5,0 9.75,3.75,1.25,75.125,0
// hash: 0xb521b5892d3f0365 of 64 answers
