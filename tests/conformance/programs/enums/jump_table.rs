//! A dense `match` over many values, as a jump table.
//! run: threads = 64

pub fn program(thread: u32) -> u32 {
    let x = thread * 3 + 1;
    match thread {
        0 => x ^ 0x11,
        1 => x + 5,
        2 => x * 7,
        3 => x << 3,
        4 => x.pow(2),
        5 => x | 0x100,
        6 => x % 5,
        7 => !x & 0xffff,
        8 => x.rotate_left(5),
        9 => x.count_ones(),
        10 => 1000 / x,
        11 => x - 4,
        12 => x.leading_zeros(),
        13 => x.min(20),
        14 => x & 0x2a,
        15 => x.swap_bytes(),
        _ => thread,
    }
}

// expect: 16 9 49 80 169 272 4 65513
// hash: 0x19a7036d31559bf9 of 64 answers
