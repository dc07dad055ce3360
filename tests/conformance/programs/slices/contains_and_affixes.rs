//! `contains`, `starts_with`, `ends_with`, `strip_prefix`.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, bool, bool, usize) {
    let values = [thread % 4, 2, 3, thread % 5];
    (
        values.contains(&3) && values[..2].contains(&0),
        values.starts_with(&[1, 2]),
        values.ends_with(&[3, 3]),
        values.strip_prefix(&[2]).map_or(0, <[u32]>::len),
    )
}

// expect: 1,0,0,0 0,1,0,0 0,0,0,3 0,0,1,0 1,0,0,0 0,1,0,0 0,0,0,3 0,0,0,0
// hash: 0x93414b3c5c1c1164 of 64 answers
