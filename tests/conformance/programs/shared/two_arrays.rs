//! Two shared arrays of different types beside each other.
//! run: threads = 64, block = 64
//! device

use raddle::device::shared;
use raddle::device::thread_x;

pub fn program(thread: u32) -> (f32, u8, f32) {
    let mut floats = shared!([f32; 64]);
    let mut bytes = shared!([u8; 128]);
    let (floats, bytes) = floats.fill_both(|i| i as f32 * 0.5, &mut bytes, |i| (i * 7) as u8);
    let at = thread_x() as usize;
    (floats[63 - at], bytes[at * 2 + 1], floats.iter().sum::<f32>() + thread as f32)
}

// expect: 31.5,7,1008.0 31.0,21,1009.0 30.5,35,1010.0 30.0,49,1011.0 29.5,63,1012.0 29.0,77,1013.0
// expect: 28.5,91,1014.0 28.0,105,1015.0
// hash: 0xae53510aea510b28 of 64 answers
