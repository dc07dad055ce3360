//! Mathematical functions at zeros, infinities and outside their domain.
//!
//! Only the arc tangent of infinity, half of pi, may be rounded either way.
//! run: threads = 32
//! ulp: 1

pub fn program(thread: u32) -> [f32; 8] {
    let values = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
    let x = values[thread as usize % 5];
    [x.exp(), x.ln(), x.sqrt(), x.sin(), x.tanh(), x.atan(), x.log2(), x.cbrt()]
}

