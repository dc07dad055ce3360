//! Floats are classified by their bits.
//! run: threads = 64

use core::num::FpCategory;

pub fn program(thread: u32) -> (u32, bool, bool, f32) {
    let x = f32::from_bits(thread << 26 | thread % 3);
    let class = match x.classify() {
        FpCategory::Nan => 0,
        FpCategory::Infinite => 1,
        FpCategory::Zero => 2,
        FpCategory::Subnormal => 3,
        FpCategory::Normal => 4,
    };
    (class, x.is_finite(), x.is_normal(), x.signum())
}

// expect: 2,1,0,1.0 4,1,1,1.0 4,1,1,1.0 4,1,1,1.0 4,1,1,1.0 4,1,1,1.0 4,1,1,1.0 4,1,1,1.0
// hash: 0xfba9e096aa9b9ea4 of 64 answers
