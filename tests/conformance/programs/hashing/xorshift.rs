//! Xorshift, splitmix and PCG generators side by side.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u64, u32) {
    let mut x = thread.wrapping_mul(2_654_435_769) | 1;
    let mut s = u64::from(thread);
    let mut p = u64::from(thread) * 2 + 1;
    let (mut split, mut pcg) = (0, 0);
    for _ in 0..10 {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        s = s.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (s ^ s >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        split = z ^ z >> 31;
        let old = p;
        p = old.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        pcg = (((old >> 18) ^ old) >> 27) as u32;
        pcg = pcg.rotate_right((old >> 59) as u32);
    }
    (x, split, pcg)
}

// expect: 0xadd02374,0xf3b8488c368cb0a6,0xc3ff64f7 0xb55a53b8,0xcb435c8e74616796,0x41dc5b80
// expect: 0x6ba8e648,0xba450a33ef6ff86c,0x618f02b1 0xdf387d,0xe376a9b1a2036b72,0xcdf7deec
// expect: 0x53478f2f,0x89a4d393bea1cc05,0xc9553cfb 0x890895f7,0x9a7b14876099d763,0xd530b781
// expect: 0x93755817,0xe8a382c9a31d6efe,0x3dddfb1f 0x983ba2d5,0x69c3a27688795369,0xbb1db431
// hash: 0x82cb1724b23e8ba3 of 64 answers
