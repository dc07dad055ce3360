//! Block scans; the operation need not commute.
//! run: threads = 256, block = 128
//! device

use raddle::device::{block_exclusive_scan, block_inclusive_scan};

pub fn program(thread: u32) -> (u32, u32, u32, u32) {
    let sum = block_inclusive_scan(thread % 10, |a, b| a + b);
    let affine = |(a, b): (u32, u32), (c, d): (u32, u32)| {
        (a.wrapping_mul(c), b.wrapping_mul(c).wrapping_add(d))
    };
    let packed = |x: u64| ((x >> 32) as u32, x as u32);
    let composed = block_exclusive_scan(
        u64::from(thread % 4 + 1) << 32 | u64::from(thread),
        1 << 32,
        |a, b| {
            let (scale, offset) = affine(packed(a), packed(b));
            u64::from(scale) << 32 | u64::from(offset)
        },
    );
    (sum.value, sum.total, composed.value as u32, (composed.value >> 32) as u32)
}

// expect: 0,568,0,1 1,568,0,1 3,568,1,2 6,568,5,6 10,568,23,24 15,568,27,24 21,568,59,48
// expect: 28,568,183,144
// hash: 0xec8872dead27aa35 of 256 answers
