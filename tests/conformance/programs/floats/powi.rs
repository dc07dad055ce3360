//! Integer powers of exactly representable values are exact.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f64, f32, f64) {
    let n = thread as i32 % 9;
    let base = 1.0 + (thread / 9) as f32;
    (base.powi(n), f64::from(base).powi(n), 2f32.powi(thread as i32 - 40), 0.5f64.powi(n * 3))
}

// expect: 1.0,1.0,9.094947e-13,1.0 1.0,1.0,1.8189894e-12,0.125 1.0,1.0,3.637979e-12,0.015625
// expect: 1.0,1.0,7.275958e-12,0.001953125 1.0,1.0,1.4551915e-11,0.000244140625
// expect: 1.0,1.0,2.910383e-11,3.0517578125e-5 1.0,1.0,5.820766e-11,3.814697265625e-6
// expect: 1.0,1.0,1.1641532e-10,4.76837158203125e-7
// hash: 0xe55cc3b434303b70 of 64 answers
