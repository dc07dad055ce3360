//! `f64` to `f32` rounds to nearest even, with overflow to infinity and underflow.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f64, f32) {
    let t = f64::from(thread);
    let third = (t + 1.0) / 3.0;
    (
        third as f32,
        10f64.powi(thread as i32 - 32 - 14) as f32,
        f64::from(third as f32),
        (1.0 + 2f64.powi(-24) + t * 2f64.powi(-25)) as f32,
    )
}

// expect: 0.33333334,0.0,0.3333333432674408,1.0 0.6666667,1e-45,0.6666666865348816,1.0000001
// expect: 1.0,1e-44,1.0,1.0000001 1.3333334,1e-43,1.3333333730697632,1.0000001
// expect: 1.6666666,1e-42,1.6666666269302368,1.0000002 2.0,1e-41,2.0,1.0000002
// expect: 2.3333333,1e-40,2.3333332538604736,1.0000002
// expect: 2.6666667,1e-39,2.6666667461395264,1.0000002
// hash: 0x1e6144cd140405de of 64 answers
