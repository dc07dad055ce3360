//! Bilinear interpolation in a small texture.
//! run: threads = 64
//! input: f32 x 64

pub fn program(thread: u32, input: &[f32]) -> f32 {
    let (u, v) = ((thread % 8) as f32 * 0.93 + 0.1, (thread / 8) as f32 * 0.85 + 0.3);
    let (x, y) = (u.floor() as usize, v.floor() as usize);
    let (fx, fy) = (u.fract(), v.fract());
    let at = |x: usize, y: usize| input[y.min(7) * 8 + x.min(7)];
    let lerp = |a: f32, b: f32, t: f32| a + (b - a) * t;
    lerp(lerp(at(x, y), at(x + 1, y), fx), lerp(at(x, y + 1), at(x + 1, y + 1), fx), fy)
}

// expect: 2.9052901 1.1866219 -5.512875 5.1706567 -2.3463469 -2.325488 -2.3384295 0.87450886
// hash: 0x0a6258032b7b0c2c of 64 answers
