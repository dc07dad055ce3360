//! A Catmull-Rom spline through five points.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32) {
    const POINTS: [f32; 5] = [0.0, 2.0, -1.0, 4.0, 3.0];
    let at = thread as f32 / 16.0;
    let segment = (at as usize).min(3);
    let t = at - segment as f32;
    let p = |i: isize| POINTS[(segment as isize + i).clamp(0, 4) as usize];
    let (a, b, c, d) = (p(-1), p(0), p(1), p(2));
    let value = 0.5
        * (2.0 * b
            + (c - a) * t
            + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
            + (3.0 * b - a - 3.0 * c + d) * t * t * t);
    (value, t)
}

// expect: 0.0,0.0 0.07922363,0.0625 0.18847656,0.125 0.32263184,0.1875 0.4765625,0.25
// expect: 0.6451416,0.3125 0.8232422,0.375 1.0057373,0.4375
// hash: 0xeac91a2690c7bdef of 64 answers
