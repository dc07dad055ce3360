//! 128-bit shifts cross the middle.
//! run: threads = 64

pub fn program(thread: u32) -> (u128, i128, u128) {
    let x = 0x8123_4567_89ab_cdef_0fed_cba9_8765_4321u128;
    (x << (thread * 2), x as i128 >> (thread * 2), x.rotate_left(thread * 3))
}

// expect: 0x8123456789abcdef,0xfedcba987654321,0x8123456789abcdef,0xfedcba987654321,0x8123456789abcdef,0xfedcba987654321
// expect: 0x48d159e26af37bc,0x3fb72ea61d950c84,0xe048d159e26af37b,0xc3fb72ea61d950c8,0x91a2b3c4d5e6f78,0x7f6e5d4c3b2a190c
// expect: 0x123456789abcdef0,0xfedcba9876543210,0xf8123456789abcde,0xf0fedcba98765432,0x48d159e26af37bc3,0xfb72ea61d950c860
// expect: 0x48d159e26af37bc3,0xfb72ea61d950c840,0xfe048d159e26af37,0xbc3fb72ea61d950c,0x468acf13579bde1f,0xdb97530eca864302
// expect: 0x23456789abcdef0f,0xedcba98765432100,0xff8123456789abcd,0xef0fedcba9876543,0x3456789abcdef0fe,0xdcba987654321812
// expect: 0x8d159e26af37bc3f,0xb72ea61d950c8400,0xffe048d159e26af3,0x7bc3fb72ea61d950,0xa2b3c4d5e6f787f6,0xe5d4c3b2a190c091
// expect: 0x3456789abcdef0fe,0xdcba987654321000,0xfff8123456789abc,0xdef0fedcba987654,0x159e26af37bc3fb7,0x2ea61d950c86048d
// expect: 0xd159e26af37bc3fb,0x72ea61d950c84000,0xfffe048d159e26af,0x37bc3fb72ea61d95,0xacf13579bde1fdb9,0x7530eca864302468
// hash: 0x9f298f758799c709 of 64 answers
