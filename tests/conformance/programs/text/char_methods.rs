//! Classification and conversion of characters.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, Option<u32>, char) {
    let c = char::from_u32(32 + thread * 3 / 2).unwrap_or('\0');
    let class = [
        c.is_ascii_digit(),
        c.is_ascii_alphabetic(),
        c.is_ascii_punctuation(),
        c.is_ascii_uppercase(),
        c.is_ascii_hexdigit(),
        c.is_whitespace(),
        c.is_alphanumeric(),
    ];
    let bits = class.iter().rev().fold(0, |bits, is| bits << 1 | u32::from(*is));
    (
        bits,
        c.to_ascii_lowercase() as u32,
        c.to_digit(16),
        char::from_digit(thread % 36, 36).unwrap_or('?'),
    )
}

// expect: 32,32,0,0,48 4,33,0,0,49 4,35,0,0,50 4,36,0,0,51 4,38,0,0,52 4,39,0,0,53 4,41,0,0,54
// expect: 4,42,0,0,55
// hash: 0xed3f3bc5c48915dc of 64 answers
