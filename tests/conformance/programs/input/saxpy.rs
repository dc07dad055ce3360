//! `a * x + y` on two halves of one slice, in two roundings.
//! run: threads = 64
//! input: f32 x 128

pub fn program(thread: u32, input: &[f32]) -> f32 {
    let (x, y) = input.split_at(64);
    let at = thread as usize;
    1.7 * x[at] + y[at]
}

// expect: 5.0808105 -5.461084 -16.742725 13.591382 -15.52107 -2.7985597 -1.9625978 13.074024
// hash: 0xe9fa3f9b228120bc of 64 answers
