//! Accumulating in `f64` and rounding once at the end.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f32) {
    let term = |i: u32| 1.0 / ((thread + 1) * 3 + i) as f32;
    let narrow: f32 = (0..64).map(term).sum();
    let wide: f64 = (0..64).map(|i| f64::from(term(i))).sum();
    (narrow, wide as f32)
}

// expect: 3.2744272,3.2744272 2.5352178,2.5352178 2.1429534,2.1429532 1.8814787,1.8814783
// expect: 1.6887589,1.6887587 1.5382725,1.5382725 1.4162333,1.4162334 1.3145682,1.3145684
// hash: 0x9fc4dc5ec56bf1fc of 64 answers
