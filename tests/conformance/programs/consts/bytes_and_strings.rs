//! Byte strings, escapes and arrays of strings as constants.
//! run: threads = 64

const BYTES: &[u8] = b"\x00\xff\t\"raddle\"\\";
const NAMES: [&str; 4] = ["", "ochre", "red\u{2014}iron", "comb\n"];

pub fn program(thread: u32) -> (u8, u32, usize) {
    let byte = BYTES[thread as usize % BYTES.len()];
    let name = NAMES[thread as usize % 4];
    (byte, name.bytes().map(u32::from).sum(), name.chars().count())
}

// expect: 0,0,0 255,529,5 9,1257,8 34,427,5 114,0,0 97,529,5 100,1257,8 100,427,5
// hash: 0x783900f420bc209d of 64 answers
