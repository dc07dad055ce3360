//! `step_by` on ranges and slices.
//! run: threads = 64
//! input: u8 x 256

pub fn program(thread: u32, input: &[u8]) -> (u32, u32, u32) {
    let step = thread as usize % 9 + 1;
    let a = input.iter().step_by(step).map(|&x| u32::from(x)).sum();
    let b = input.iter().skip(thread as usize).step_by(64).fold(0, |h, &x| h * 7 + u32::from(x));
    let c = (0..1000u32).step_by(step * 10).map(|x| x ^ thread).max().unwrap_or(0);
    (a, b, c)
}

// expect: 35349,61384,990 17563,88475,981 12054,34257,988 9210,86599,963 6578,67076,946
// expect: 6271,91490,965 4960,88356,978 4315,27885,967
// hash: 0x1c6f8b94ca0c9028 of 64 answers
