//! Bytes of string constants.
//! run: threads = 64

const TEXT: &str = "A warp of threads crosses the weft.";

pub fn program(thread: u32) -> (u8, u32, usize) {
    let bytes = TEXT.as_bytes();
    let byte = bytes[thread as usize % bytes.len()];
    let hash = TEXT.bytes().fold(thread, |h, b| h.wrapping_mul(31) + u32::from(b));
    (byte.to_ascii_uppercase(), hash, bytes.iter().filter(|b| **b == byte).count())
}

// expect: 65,0xe01ce72a,1 32,0x545c1f89,6 87,0xc89b57e8,2 65,0x3cda9047,2 82,0xb119c8a6,3
// expect: 80,0x25590105,1 32,0x99983964,6 79,0xdd771c3,2
// hash: 0x6e79f7cf3c91f1d2 of 64 answers
