//! `bf16` keeps the range of `f32` and eight bits.
//! run: threads = 64

use raddle::device::bf16;

pub fn program(thread: u32) -> (f32, f32, f32, f32) {
    let a = bf16::from_f32(thread as f32 * 1e30 - 7.0);
    let b = bf16::from_f32(0.3 + thread as f32 * 0.01);
    ((a + b).to_f32(), (a * b).to_f32(), b.mul_add(b, b).to_f32(), b.sqrt().to_f32())
}

// expect: -6.6875,-2.109375,0.390625,0.546875 1.00025555e30,3.1072295e29,0.40625,0.55859375
// expect: 2.0005111e30,6.3877706e29,0.42382813,0.56640625
// expect: 2.990863e30,9.854003e29,0.43945313,0.57421875
// expect: 4.0010222e30,1.3567823e30,0.45507813,0.58203125
// expect: 4.9913742e30,1.7430196e30,0.47265625,0.58984375
// expect: 5.981726e30,2.1490639e30,0.48828125,0.59765625
// expect: 7.0116924e30,2.5947223e30,0.50390625,0.609375
// hash: 0x44b4a779b8c670b8 of 64 answers
