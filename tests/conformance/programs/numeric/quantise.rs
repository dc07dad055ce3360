//! Quantising to 8 bits with scale and zero point, and back.
//! run: threads = 64
//! input: f32 x 64

pub fn program(thread: u32, input: &[f32]) -> (u8, f32, i32) {
    let (low, high) = input.iter().fold((0f32, 0f32), |(low, high), x| (low.min(*x), high.max(*x)));
    let scale = (high - low) / 255.0;
    let zero = (-low / scale).round_ties_even() as u8;
    let quantised =
        |x: f32| ((x / scale).round_ties_even() as i32 + i32::from(zero)).clamp(0, 255) as u8;
    let q = quantised(input[thread as usize]);
    let dot =
        input.iter().map(|x| i32::from(quantised(*x)) * (i32::from(q) - i32::from(zero))).sum();
    (q, (i32::from(q) - i32::from(zero)) as f32 * scale, dot)
}

// expect: 231,6.117676,865776 111,-1.0795898,-152784 3,-7.557129,-1069488 255,7.557129,1069488
// expect: 24,-6.2976074,-891240 83,-2.758952,-390448 42,-5.2180176,-738456 201,4.3183594,611136
// hash: 0xfd01337a0246fed2 of 64 answers
