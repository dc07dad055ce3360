//! Infinities follow IEEE 754, and `inf - inf` is NaN.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, f32, f64, bool) {
    let big = f32::MAX * (thread as f32 * 0.25);
    let inverse = 1.0 / big;
    let nan = big - big;
    (big, inverse, nan, f64::from(big) * 2.0, nan.is_nan())
}

// expect: 0.0,inf,0.0,0.0,0 8.5070587e37,1.1754945e-38,0.0,1.7014117331926443e38,0
// expect: 1.7014117e38,5.877472e-39,0.0,3.4028234663852886e38,0
// expect: 2.5521175e38,3.918315e-39,0.0,5.104235098165885e38,0
// expect: 3.4028235e38,2.938736e-39,0.0,6.805646932770577e38,0 inf,0.0,NaN,inf,1 inf,0.0,NaN,inf,1
// expect: inf,0.0,NaN,inf,1
// hash: 0x1fba748ebe494b92 of 64 answers
