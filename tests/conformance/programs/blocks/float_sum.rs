//! A float sum over the block has one order on every device.
//! run: threads = 128, block = 128
//! device
//! input: f32 x 128

use raddle::device::block_all_reduce;

pub fn program(thread: u32, input: &[f32]) -> (f32, f32) {
    let value = input[thread as usize] * 1.1;
    let sum = block_all_reduce(value, |a, b| a + b);
    (sum, block_all_reduce(value, f32::max))
}

// expect: 13.509373,8.445508 13.509373,8.445508 13.509373,8.445508 13.509373,8.445508
// expect: 13.509373,8.445508 13.509373,8.445508 13.509373,8.445508 13.509373,8.445508
// hash: 0xa71665eae1b5e525 of 128 answers
