//! Rotations at 8, 16, 32 and 64 bits, by more than the width too.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, u16, u32, u64, u32) {
    let x = thread.wrapping_mul(0x9e37_79b9) ^ 0x1234_5678;
    (
        (x as u8).rotate_left(thread),
        (x as u16).rotate_right(thread),
        x.rotate_left(thread),
        (u64::from(x) << 20 | 5).rotate_right(thread * 3),
        x.rotate_right(32 + thread),
    )
}

// expect: 120,22136,0x12345678,0x1234567800005,0x12345678
// expect: 131,38880,0x18065f83,0xa00118065f820000,0xc60197e0
// expect: 40,43330,0xb96a9428,0x14000b96a9428000,0x8b96a942
// expect: 154,26474,0x4491da9e,0x280064491da9800,0x7912476a
// expect: 201,51977,0xae9b09c6,0x50006ae9b09c00,0xc6ae9b09
// expect: 188,10679,0xa426dca0,0xa0000a426dca0,0x282909b7
// expect: 139,47664,0xde230ba9,0x140029de230b8,0xba9de230
// expect: 187,60932,0xd8013ba0,0x8000280020d8013b,0xee836004
// hash: 0x0319c31eaa7e0981 of 64 answers
