//! `f16` at its limits: rounding, overflow and subnormals.
//! run: threads = 64

use raddle::device::f16;

pub fn program(thread: u32) -> (f32, f32, f32, bool) {
    let large = f16::from_f32(65_480.0 + thread as f32);
    let small = f16::from_f32(thread as f32 * 2f32.powi(-26));
    let middle = f16::from_f64(1.0 + f64::from(thread) / 2048.0);
    (large.to_f32(), small.to_f32(), middle.to_f32(), small < f16::MIN_POSITIVE)
}

// expect: 65472.0,0.0,1.0,1 65472.0,0.0,1.0,1 65472.0,0.0,1.0009766,1
// expect: 65472.0,5.9604645e-8,1.0019531,1 65472.0,5.9604645e-8,1.0019531,1
// expect: 65472.0,5.9604645e-8,1.0019531,1 65472.0,1.1920929e-7,1.0029297,1
// expect: 65472.0,1.1920929e-7,1.0039063,1
// hash: 0x993c7ccae04ef034 of 64 answers
