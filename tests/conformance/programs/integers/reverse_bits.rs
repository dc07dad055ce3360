//! Bit and byte reversal at each width.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, u16, u32, u64, u32, u64) {
    let x = thread.wrapping_mul(0x0123_4567).wrapping_add(1);
    let wide = u64::from(x) * 0x1_0001;
    (
        (x as u8).reverse_bits(),
        (x as u16).swap_bytes(),
        x.reverse_bits(),
        wide.reverse_bits(),
        x.swap_bytes(),
        wide.swap_bytes(),
    )
}

// expect: 128,256,0x80000000,0x8000800000000000,0x1000000,0x100010000000000
// expect: 22,26693,0x16a2c480,0x16a2d162c4800000,0x68452301,0x68458b4623010000
// expect: 243,53130,0xf3516240,0xf351a8b162400000,0xcf8a4602,0xcf8a158d46020000
// expect: 108,14032,0x6c0b96c0,0x6c0bf9cb96c00000,0x36d06903,0x36d09fd369030000
// expect: 185,40213,0xb9a8b120,0xb9a85458b1200000,0x9d158d04,0x9d152a1a8d040000
// expect: 32,1115,0x20da0da0,0x20da2d060da00000,0x45bb005,0x45bb460b0050000
// expect: 214,27552,0xd605cb60,0xd6057ce5cb600000,0x6ba0d306,0x6ba03ea7d3060000
// expect: 75,53989,0x4ba76fe0,0x4ba713b76fe00000,0xd2e5f607,0xd2e5c8edf6070000
// hash: 0xdce99b068b903961 of 64 answers
