//! A rational approximation evaluated by Horner's rule with `mul_add`.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f64) {
    let x = thread as f32 / 32.0 - 1.0;
    let over = [0.1f32, -0.25, 0.5, 1.0].into_iter().fold(0.0, |sum: f32, c| sum.mul_add(x, c));
    let under = [0.05f64, 0.2, 1.0].into_iter().fold(0.0, |sum: f64, c| sum.mul_add(x.into(), c));
    (over, f64::from(over) / under)
}

// expect: 0.14999998,0.17647056018604954 0.19009091,0.22280443132909525
// expect: 0.22912598,0.26753135689851765 0.26712343,0.3106756696127513
// expect: 0.30410153,0.3522624020123374 0.3400787,0.3923174681303864 0.37507322,0.4308671546886394
// expect: 0.4091034,0.46793842502094385
// hash: 0x4371dfd42614af02 of 64 answers
