//! Structs in shared memory, made of plain words.
//! run: threads = 64, block = 64
//! device

use raddle::device::shared;
use raddle::device::thread_x;

pub fn program(thread: u32) -> (f32, u32) {
    let mut points = shared!([[f32; 3]; 64]);
    let points = points.gather([thread as f32, thread as f32 * -2.0, 1.0]);
    let at = thread_x() as usize;
    let next = points[(at + 1) % 64];
    let nearest = points.iter().filter(|p| p[0] > 30.5).count() as u32;
    (next[0] * next[2] + next[1], nearest)
}

// expect: -1.0,33 -2.0,33 -3.0,33 -4.0,33 -5.0,33 -6.0,33 -7.0,33 -8.0,33
// hash: 0x0453f7039395fd68 of 64 answers
