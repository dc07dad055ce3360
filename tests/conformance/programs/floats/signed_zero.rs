//! The sign of zero survives arithmetic, and shows in `copysign` and division.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32, bool, f32, f64) {
    let zero = if thread % 2 == 0 { 0.0f32 } else { -0.0 };
    let x = thread as f32 + 1.0;
    (zero * x, x.copysign(zero), 1.0 / zero, zero.is_sign_negative(), zero + 0.0, f64::from(-zero))
}

// expect: 0.0,1.0,inf,0,0.0,-0.0 -0.0,-2.0,-inf,1,0.0,0.0 0.0,3.0,inf,0,0.0,-0.0
// expect: -0.0,-4.0,-inf,1,0.0,0.0 0.0,5.0,inf,0,0.0,-0.0 -0.0,-6.0,-inf,1,0.0,0.0
// expect: 0.0,7.0,inf,0,0.0,-0.0 -0.0,-8.0,-inf,1,0.0,0.0
// hash: 0x13b592fc12ca4b72 of 64 answers
