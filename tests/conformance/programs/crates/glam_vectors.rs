//! Vectors and matrices of the `glam` crate with its scalar back end.
//! run: threads = 64

use glam::{Mat3, Vec3};

pub fn program(thread: u32) -> ([f32; 3], f32, bool) {
    let v = Vec3::new(thread as f32, 2.0, -0.5);
    let m = Mat3::from_cols(Vec3::X * 2.0, Vec3::new(0.0, 1.0, 1.0), Vec3::splat(0.25));
    let moved = m * v.cross(Vec3::Y) + v.min(Vec3::splat(9.0));
    (moved.to_array(), v.dot(moved), m.determinant() == 1.5 && v.max_element() >= 2.0)
}
