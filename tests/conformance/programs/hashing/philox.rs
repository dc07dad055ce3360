//! Philox4x32-10, a counter-based generator; its published vectors hold.
//! run: threads = 64

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let wide = |a: u32, b: u32| {
        let product = u64::from(a) * u64::from(b);
        ((product >> 32) as u32, product as u32)
    };
    for _ in 0..10 {
        let (high0, low0) = wide(0xd251_1f53, counter[0]);
        let (high1, low1) = wide(0xcd9e_8d57, counter[2]);
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

pub fn program(thread: u32) -> ([u32; 4], bool) {
    let known = philox([0; 4], [0; 2]) == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
    (philox([thread, 1, 2, 3], [7, 8]), known)
}

// expect: 0xd0c0cf75,0x5cf6d556,0xce9d45f6,0xc47c6d04,1
// expect: 0x7284c138,0x5c8767e3,0xa18668d1,0x28913ec9,1
// expect: 0xd5259565,0x2c15d98a,0xa8fef58c,0xd803cf15,1
// expect: 0x44494dbc,0xd13ab510,0xd7776c6b,0xc33b3659,1
// expect: 0xf31158,0x3c78b9a1,0x133897de,0x87eb561a,1 0x3389c518,0x6870c941,0xf2288e89,0x90c04a8,1
// expect: 0x8d5eaf0,0x18185bc9,0x71964258,0xe9912bf9,1
// expect: 0xe7f15e53,0x1297070c,0x998c8e2e,0x5a8067b9,1
// hash: 0xc610a9977e66efd0 of 64 answers
