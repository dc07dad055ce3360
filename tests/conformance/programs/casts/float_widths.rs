//! `f64` to `f32` rounds to nearest even, with overflow to infinity and underflow.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f64, f32) {
    let t = f64::from(thread);
    let sizes = [1e-46, 1e-45, 1.1e-40, 1.17549e-38, 3.4e-5, 0.1, 3.4028235e38, 3.4028236e38, 1e39];
    let third = (t + 1.0) / 3.0;
    (
        third as f32,
        sizes[thread as usize % 9] as f32,
        f64::from(third as f32),
        (1.0 + 2f64.powi(-24) + t * 2f64.powi(-25)) as f32,
    )
}

// expect: 0.33333334,0.0,0.3333333432674408,1.0 0.6666667,1e-45,0.6666666865348816,1.0000001
// expect: 1.0,1.1e-40,1.0,1.0000001 1.3333334,1.17549e-38,1.3333333730697632,1.0000001
// expect: 1.6666666,3.4e-5,1.6666666269302368,1.0000002 2.0,0.1,2.0,1.0000002
// expect: 2.3333333,3.4028235e38,2.3333332538604736,1.0000002
// expect: 2.6666667,inf,2.6666667461395264,1.0000002
// hash: 0x5b3b3ac4fba628c5 of 64 answers
