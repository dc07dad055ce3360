//! Mean and variance in one pass.
//! run: threads = 64
//! input: f64 x 128

pub fn program(thread: u32, input: &[f64]) -> (f64, f64) {
    let values = &input[thread as usize..thread as usize * 2 + 1];
    let (_, mean, squares) = values.iter().fold((0.0, 0.0, 0.0), |(n, mean, squares), x| {
        let n = n + 1.0;
        let delta = x - mean;
        let mean = mean + delta / n;
        (n, mean, squares + delta * (x - mean))
    });
    (mean, squares / values.len() as f64)
}

// expect: 6.132972929626703,0.0 -4.336305852979422,10.50248521426573
// expect: -2.1138003145654998,46.813575150592214 -1.686310801655054,29.980120690615042
// expect: -2.800717355310917,14.149102594612614 -0.35485919502874214,20.76541701104484
// expect: 0.7419132590293884,18.7789192442272 1.828218071255833,11.652014348318366
// hash: 0x83ada52f27674279 of 64 answers
