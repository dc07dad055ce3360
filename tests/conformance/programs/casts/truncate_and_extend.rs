//! Integer casts truncate, zero-extend and sign-extend.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, i8, i64, u64, i16, u32) {
    let x = thread.wrapping_mul(0x0f0f_f1f3);
    (
        x as u8,
        x as i8,
        i64::from(x as i16),
        u64::from(x as u16),
        i16::from(x as i8),
        x as i8 as u8 as i32 as u32,
    )
}

// expect: 0,0,0,0,0,0 243,-13,-3597,61939,-13,243 230,-26,-7194,58342,-26,230
// expect: 217,-39,-10791,54745,-39,217 204,-52,-14388,51148,-52,204 191,-65,-17985,47551,-65,191
// expect: 178,-78,-21582,43954,-78,178 165,-91,-25179,40357,-91,165
// hash: 0x2d47b62e8163d3fd of 64 answers
