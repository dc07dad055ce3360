//! Bytes in memory are put together to words at odd offsets.
//! run: threads = 64
//! input: u8 x 128

pub fn program(thread: u32, input: &[u8]) -> (u32, u64, u16) {
    let at = thread as usize;
    let word = u32::from_le_bytes(input[at..at + 4].try_into().expect("four bytes"));
    let wide = u64::from_be_bytes(*input[at + 3..].first_chunk().expect("eight bytes"));
    (word, wide, u16::from_ne_bytes([input[at], input[at + 1]]))
}

// expect: 0xec4ff4af,0xec9beae13cc3a609,62639 0x9bec4ff4,0x9beae13cc3a609f6,20468
// expect: 0xea9bec4f,0xeae13cc3a609f67b,60495 0xe1ea9bec,0xe13cc3a609f67b2f,39916
// expect: 0x3ce1ea9b,0x3cc3a609f67b2f19,60059 0xc33ce1ea,0xc3a609f67b2f19ab,57834
// expect: 0xa6c33ce1,0xa609f67b2f19ab55,15585 0x9a6c33c,0x9f67b2f19ab5586,49980
// hash: 0x8467d97d83cb836a of 64 answers
