//! Hexadecimal encoding and decoding through tables of bytes.
//! run: threads = 64

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn value(digit: u8) -> Option<u8> {
    DIGITS.iter().position(|d| *d == digit.to_ascii_lowercase()).map(|at| at as u8)
}

pub fn program(thread: u32) -> (u64, Option<u32>) {
    let bytes = thread.wrapping_mul(0xcafe_f00d).to_be_bytes();
    let mut text = [0u8; 8];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    let decoded = text.iter().try_fold(0u32, |sum, d| Some(sum << 4 | u32::from(value(*d)?)));
    (u64::from_be_bytes(text), decoded)
}

// expect: 0x3030303030303030,1,0 0x6361666566303064,1,0xcafef00d 0x3935666465303161,1,0x95fde01a
// expect: 0x3630666364303237,1,0x60fcd027 0x3262666263303334,1,0x2bfbc034
// expect: 0x6636666162303431,1,0xf6fab041 0x6331663961303465,1,0xc1f9a04e
// expect: 0x3863663839303562,1,0x8cf8905b
// hash: 0xe83b34b7c761bcb9 of 64 answers
