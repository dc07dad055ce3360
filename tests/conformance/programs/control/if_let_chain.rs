//! `if let` chains mix patterns and conditions.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let half = (thread % 2 == 0).then_some(thread / 2);
    if let Some(half) = half
        && half % 2 == 0
        && let Some(rest) = half.checked_sub(4)
    {
        1000 + rest
    } else if let None = half
        && thread > 10
    {
        2000 + thread
    } else {
        thread
    }
}

// expect: 0 1 2 3 4 5 6 7
// hash: 0x2bc3ddf7dddf9706 of 64 answers
