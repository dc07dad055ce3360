//! `chars` decodes UTF-8 of one to four bytes.
//! run: threads = 64

const TEXT: &str = "Rß€𝄞é–🦀z";

pub fn program(thread: u32) -> (u32, u32, usize, u32) {
    let c = TEXT.chars().cycle().nth(thread as usize).unwrap_or('?');
    let sum = TEXT.chars().rev().fold(0u32, |h, c| h.wrapping_mul(7).wrapping_add(c as u32));
    let at = TEXT.char_indices().nth(thread as usize % 8).map_or(99, |(at, _)| at);
    (c as u32, sum, at, c.len_utf8() as u32)
}

// expect: 82,0x9c2ba66d,0,1 223,0x9c2ba66d,1,2 8364,0x9c2ba66d,3,3 119070,0x9c2ba66d,6,4
// expect: 233,0x9c2ba66d,10,2 8211,0x9c2ba66d,12,3 129408,0x9c2ba66d,15,4 122,0x9c2ba66d,19,1
// hash: 0x8fafedea3327d785 of 64 answers
