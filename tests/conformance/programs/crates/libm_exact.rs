//! Functions of `libm` whose results are exact.
//! run: threads = 64

pub fn program(thread: u32) -> (f64, f32, i32, f64, f64) {
    let x = f64::from(thread) * 1.37 - 40.0;
    let (fraction, exponent) = libm::frexp(x);
    (libm::fma(x, x, -1.0), libm::rintf(x as f32), exponent, fraction, libm::fmod(x, 3.3))
}
