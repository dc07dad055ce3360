//! A dot product rounds each product and each sum.
//! run: threads = 64
//! input: f32 x 256

pub fn program(thread: u32, input: &[f32]) -> (f32, f32) {
    let row = &input[thread as usize * 4 % 192..][..64];
    let dot = row.iter().zip(row.iter().rev()).fold(0.1f32, |sum, (a, b)| sum + a * b);
    let fused = row.iter().zip(row.iter().rev()).fold(0.1f32, |sum, (a, b)| a.mul_add(*b, sum));
    (dot, fused)
}

// expect: -184.60822,-184.60822 -214.14626,-214.14626 619.3785,619.3785 -87.12465,-87.12463
// expect: 405.4519,405.45187 -43.42232,-43.42235 -300.4947,-300.49472 -189.47772,-189.47774
// hash: 0x7cc1b5d2eb2a96df of 64 answers
