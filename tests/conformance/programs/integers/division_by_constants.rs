//! Divisions by constants, which compilers turn into multiplications.
//! run: threads = 64

pub fn program(thread: u32) -> [u64; 7] {
    let x = thread.wrapping_mul(0xdead_beef);
    let wide = u64::from(x).wrapping_mul(0x1_2345_6789);
    [
        u64::from(x / 3),
        u64::from(x % 10),
        u64::from(x / 641),
        wide / 1_000_000_007,
        wide % 97,
        (x as i32 / -13) as u64,
        (x as u16 / 255).into(),
    ]
}

// expect: 0,0,0,0,0,0,0 0x4a39ea4f,9,5828281,0x4402b05a1,55,0x2902c63,191
// expect: 0x3f1e7f4a,2,4956146,0x39d5612a0,74,0x52058c7,126
// expect: 0x34031444,5,4084011,0x2fa811f9f,93,0x7b0852b,61
// expect: 0x28e7a93e,8,3211875,0x257ac2c9f,15,0xfffffffff68f767c,252
// expect: 0x1dcc3e39,1,2339740,0x1b4d7399e,34,0xfffffffff91fa2e0,187
// expect: 0x12b0d333,4,1467605,0x11202469e,53,0xfffffffffbafcf43,122
// expect: 0x795682d,7,595469,0x6f2d539d,72,0xfffffffffe3ffba7,56
// hash: 0xc938e3d562d14448 of 64 answers
