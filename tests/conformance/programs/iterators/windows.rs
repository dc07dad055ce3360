//! Sliding windows.
//! run: threads = 64
//! input: i32 x 80

pub fn program(thread: u32, input: &[i32]) -> (u32, Option<i32>) {
    let values = &input[thread as usize..][..16];
    let peaks = values.windows(3).filter(|w| w[1] > w[0] && w[1] > w[2]).count() as u32;
    let step = values.windows(2).map(|w| (w[1] / 4 - w[0] / 4).abs()).max();
    (peaks, step)
}

// expect: 5,1,1016123175 5,1,1016123175 6,1,1016123175 5,1,931996778 5,1,931996778 5,1,931996778
// expect: 5,1,931996778 6,1,931996778
// hash: 0x554dae0b05e8554c of 64 answers
