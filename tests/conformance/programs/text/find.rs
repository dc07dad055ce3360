//! Searching strings for characters and substrings.
//! run: threads = 64

const TEXT: &str = "the quick brown fox jumps over the lazy dog";

pub fn program(thread: u32) -> (Option<usize>, Option<usize>, bool, usize) {
    let letter = (b'a' + (thread % 26) as u8) as char;
    let words = ["the", "over", "ow", "cat"];
    let word = words[thread as usize % 4];
    (
        TEXT.find(letter),
        TEXT.rfind(word),
        TEXT.starts_with(word),
        TEXT.split_whitespace().filter(|w| w.len() > thread as usize % 6).count(),
    )
}

// expect: 1,36,1,31,1,9 1,10,1,26,0,9 1,7,1,12,0,9 1,40,0,0,0,5 1,2,1,31,1,3 1,16,1,26,0,0
// expect: 1,42,1,12,0,9 1,1,0,0,0,9
// hash: 0x10d0f4f8df00ebc8 of 64 answers
