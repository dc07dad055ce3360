//! Compensated summation keeps what plain summation loses.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32) {
    let (mut plain, mut sum, mut lost) = (0f32, 0f32, 0f32);
    for i in 0..200 {
        let x = 0.1 + (thread * 200 + i) as f32 * 1e-3;
        plain += x;
        let y = x - lost;
        let t = sum + y;
        lost = (t - sum) - y;
        sum = t;
    }
    (plain, sum)
}

// expect: 39.899998,39.9 79.90001,79.9 119.90001,119.90001 159.90001,159.90001 199.90002,199.90001
// expect: 239.90001,239.90001 279.9,279.90002 319.9,319.90002
// hash: 0xe25dddcb52050b78 of 64 answers
