//! Subnormal numbers are kept, not flushed to zero.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32, u32, bool, f64, f32) {
    let tiny = f32::from_bits(thread + 1);
    let half = f32::MIN_POSITIVE / 2f32.powi(thread as i32 % 30);
    let d = f64::from_bits(u64::from(thread) + 3) * 0.5;
    (tiny + tiny, half, (tiny * 0.5).to_bits(), half.is_subnormal(), d, half * 1.5 - half)
}

// expect: 3e-45,1.1754944e-38,0,0,1e-323,5.877472e-39 6e-45,5.877472e-39,1,1,1e-323,2.938736e-39
// expect: 8e-45,2.938736e-39,2,1,1e-323,1.469368e-39 1.1e-44,1.469368e-39,2,1,1.5e-323,7.34684e-40
// expect: 1.4e-44,7.34684e-40,2,1,2e-323,3.67342e-40 1.7e-44,3.67342e-40,3,1,2e-323,1.83671e-40
// expect: 2e-44,1.83671e-40,4,1,2e-323,9.1835e-41 2.2e-44,9.1835e-41,4,1,2.5e-323,4.5918e-41
// hash: 0xe5165da353d2748c of 64 answers
