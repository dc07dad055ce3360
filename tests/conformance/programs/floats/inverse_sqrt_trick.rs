//! The famous inverse square root by bits and one Newton step.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, bool) {
    let x = thread as f32 * 0.75 + 0.01;
    let guess = f32::from_bits(0x5f37_59df - (x.to_bits() >> 1));
    let better = guess * (1.5 - 0.5 * x * guess * guess);
    (better, (better * better * x - 1.0).abs() < 0.005)
}

// expect: 9.982522,1 1.146232,1 0.8126315,1 0.66440904,1 0.5759071,1 0.5148196,1 0.47083783,1
// expect: 0.4358149,1
// hash: 0x1a72e10ecece1f45 of 64 answers
