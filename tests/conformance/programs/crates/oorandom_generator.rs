//! The PCG generator of the `oorandom` crate.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, f32) {
    let mut random = oorandom::Rand32::new(u64::from(thread));
    let first = random.rand_u32();
    let sum = (0..10).map(|_| random.rand_range(0..100)).sum();
    (first, sum, random.rand_float())
}

// expect: 0x348a463f,520,0.9441046 0x6bfaa1a9,395,0.25925767 0xc141edfa,516,0.5367252
// expect: 0x4c72aacc,546,0.3760211 0xab9a6f65,586,0.58827215 0xb6bfb089,558,0.22240824
// expect: 0xbbcf193e,733,0.8717103 0x50a0129b,686,0.75568336
// hash: 0x0036788e39c31c00 of 64 answers
