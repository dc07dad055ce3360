//! Roman numerals by a table of values and letters.
//! run: threads = 64

const PARTS: [(u32, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

pub fn program(thread: u32) -> ([u64; 2], usize) {
    let mut buffer = [0u8; 16];
    let (mut len, mut left) = (0, thread * 31 + 1);
    for (value, letters) in PARTS {
        while left >= value {
            buffer[len..len + letters.len()].copy_from_slice(letters.as_bytes());
            len += letters.len();
            left -= value;
        }
    }
    let (low, high) = buffer.split_at(8);
    let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    ([word(low), word(high)], len)
}

// expect: 0x4900000000000000,0,1 0x5858584949000000,0,5 0x4c58494949000000,0,5
// expect: 0x5843495600000000,0,4 0x4358585600000000,0,4 0x434c564900000000,0,4
// expect: 0x434c585858564949,0,8 0x4343585649494900,0,7
// hash: 0x40902ef297c8c34a of 64 answers
