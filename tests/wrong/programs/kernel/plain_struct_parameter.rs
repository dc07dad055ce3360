//! A struct without `#[repr(C)]` has no fixed layout.
use raddle::prelude::*;

#[derive(Clone, Copy)]
pub struct Point {
    pub x: u8,
    pub y: f32,
}

#[kernel]
pub fn plain_struct_parameter(points: &[Point], mut out: PerThread<f32>) { //~ ERROR Point]` cannot be a kernel parameter
    if let Some((i, out)) = out.mine() {
        *out = points[i].y;
    }
}
