//! A tile is transposed in shared memory.
//! run: threads = 256, block = 256
//! device
//! input: f32 x 256

use raddle::device::shared;
use raddle::device::thread_x;

pub fn program(thread: u32, input: &[f32]) -> f32 {
    let mut tile = shared!([[f32; 17]; 16]);
    let tile =
        tile.fill_matrix(|row, column| if column < 16 { input[row * 16 + column] } else { 0.0 });
    let (row, column) = (thread_x() / 16, thread_x() % 16);
    tile[column as usize][row as usize] + thread as f32 * 0.0
}

// expect: 6.1328125 -0.17749023 -7.2194824 -0.54541016 -5.3449707 1.4152832 -1.713623 -2.066162
// hash: 0xb6fcd92abb4bf81b of 256 answers
