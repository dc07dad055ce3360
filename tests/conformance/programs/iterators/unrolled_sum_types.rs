//! `sum` into wider and wrapping types.
//! run: threads = 64

use core::num::Wrapping;

pub fn program(thread: u32) -> (u64, u8, i32) {
    let values: [u8; 8] = core::array::from_fn(|i| {
        (thread as u8).wrapping_mul(31).wrapping_add((i as u8).wrapping_mul(60))
    });
    let wide = values.iter().map(|&x| u64::from(x)).sum();
    let wrapped: Wrapping<u8> = values.iter().map(|&x| Wrapping(x)).sum();
    let signed = values.iter().map(|&x| i32::from(x as i8)).sum();
    (wide, wrapped.0, signed)
}

// expect: 912,144,144 904,136,-120 1152,128,128 888,120,-136 1136,112,112 872,104,-152 1120,96,96
// expect: 856,88,88
// hash: 0xc7481ff5e53082d8 of 64 answers
