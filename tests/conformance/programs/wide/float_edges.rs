//! 128-bit integers to floats and back at the edges: ties, the largest values, NaN.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, f64, f32, u128, i128) {
    // One bit, a neighbour below it that makes ties, and a last bit that breaks them.
    let top = 1u128 << (64 + thread);
    let tie = [0, top >> 24, top >> 23 | top >> 24, top >> 53, top >> 24 | 1][thread as usize % 5];
    let wide = if thread == 63 { u128::MAX } else { top | tie };
    let floats = [
        f64::NAN,
        f64::INFINITY,
        -f64::INFINITY,
        -0.75,
        0.999_999,
        1.7014118346046923e38,
        -1.7014118346046923e38,
        3.402823669209385e38,
    ];
    let float =
        floats[thread as usize % 8] * if thread < 8 { 1.0 } else { f64::from(thread) / 16.0 };
    (
        wide as f32,
        wide as f64,
        (wide as i128) as f32,
        float as u128,
        if thread % 2 == 0 { float as i128 } else { float as f32 as i128 },
    )
}

// expect: 1.8446744e19,1.8446744073709552e19,1.8446744e19,0,0,0,0
// expect: 3.689349e19,3.689349034644236e19,3.689349e19,0xffffffffffffffff,0xffffffffffffffff,0x7fffffffffffffff,0xffffffffffffffff
// expect: 7.378699e19,7.378698948897774e19,7.378699e19,0,0,0x8000000000000000,0
// expect: 1.4757395e20,1.4757395258967641e20,1.4757395e20,0,0,0,0
// expect: 2.9514794e20,2.951479227715389e20,2.9514794e20,0,0,0,0
// expect: 5.902958e20,5.902958103587057e20,5.902958e20,0x8000000000000000,0,0x7fffffffffffffff,0xffffffffffffffff
// expect: 1.1805916e21,1.1805916910861555e21,1.1805916e21,0,0,0x8000000000000000,0
// expect: 2.3611838e21,2.3611836636472877e21,2.3611838e21,0xffffffffffffffff,0xffffffffffffffff,0x7fffffffffffffff,0xffffffffffffffff
// hash: 0x4550e1d860287614 of 64 answers
