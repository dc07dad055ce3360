//! Every ordered comparison with NaN is false; `!=` is true.
//!
//! The sums with zero hide which zero `max` chose: Rust leaves that open.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, bool, bool, f32, f32) {
    let values = [f32::NAN, 1.0, -0.0, 0.0, f32::INFINITY, f32::NEG_INFINITY, -1.0, 2.5];
    let a = values[thread as usize / 8];
    let b = values[thread as usize % 8];
    let mut truths = 0;
    for (i, truth) in [a < b, a <= b, a > b, a >= b, a == b, a != b].into_iter().enumerate() {
        truths |= u32::from(truth) << i;
    }
    (truths, a.is_nan(), !(a < b) && !(a >= b), a.max(b) + 0.0, a.min(b) + 0.0)
}

// expect: 32,1,1,NaN,NaN 32,1,1,1.0,1.0 32,1,1,0.0,0.0 32,1,1,0.0,0.0 32,1,1,inf,inf
// expect: 32,1,1,-inf,-inf 32,1,1,-1.0,-1.0 32,1,1,2.5,2.5
// hash: 0xc59bd2bef1d2893e of 64 answers
