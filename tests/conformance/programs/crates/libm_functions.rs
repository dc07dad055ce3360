//! Functions of the `libm` crate, compiled unchanged.
//! run: threads = 64
//! ulp: 1

pub fn program(thread: u32) -> (f64, f32, f64, f64) {
    let x = f64::from(thread) * 0.21 - 3.0;
    (libm::erf(x), libm::expf(x as f32), libm::tgamma(x + 4.5), libm::j0(x))
}
