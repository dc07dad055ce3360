//! Sign operations work on the sign bit alone.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f64, bool, f32) {
    let x = if thread % 2 == 0 { thread as f32 } else { -(thread as f32) };
    let y = 16.0 - thread as f32;
    (
        x.abs(),
        x.copysign(y),
        f64::from(x).copysign(-0.0).abs(),
        y.is_sign_positive(),
        -x.abs() * y.signum(),
    )
}

// expect: 0.0,0.0,0.0,1,-0.0 1.0,1.0,1.0,1,-1.0 2.0,2.0,2.0,1,-2.0 3.0,3.0,3.0,1,-3.0
// expect: 4.0,4.0,4.0,1,-4.0 5.0,5.0,5.0,1,-5.0 6.0,6.0,6.0,1,-6.0 7.0,7.0,7.0,1,-7.0
// hash: 0x928dc3f6cf11efec of 64 answers
