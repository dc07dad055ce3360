//! 128-bit products.
//! run: threads = 64

pub fn program(thread: u32) -> (u128, i128) {
    let a = (u128::from(thread) << 90) | 0x1234_5678_9abc_def0;
    let b = u128::from(thread).wrapping_mul(0xffff_ffff_ffff_fff1) + 3;
    let c = i128::from(thread) - 32;
    (a.wrapping_mul(b), c * 0x7fff_ffff_ffff_ffff * 5)
}

// expect: 0,0x369d0369d0369cd0,0xffffffffffffffb0,160
// expect: 0x123456786abcdeef,0x258bf258bf258cc0,0xffffffffffffffb2,0x800000000000009b
// expect: 0x2468acf05d79bdde,0x147ae147ae147cb0,0xffffffffffffffb5,150
// expect: 0x369d0367d8369ccd,0x369d0369d036ca0,0xffffffffffffffb7,0x8000000000000091
// expect: 0x48d159dedaf37bbb,0xf258bf258bf25c90,0xffffffffffffffba,140
// expect: 0x5b05b05565b05aaa,0xe147ae147ae14c80,0xffffffffffffffbc,0x8000000000000087
// expect: 0x6d3a06cb786d3999,0xd0369d0369d03c70,0xffffffffffffffbf,130
// expect: 0x7f6e5d41132a1888,0xbf258bf258bf2c60,0xffffffffffffffc1,0x800000000000007d
// hash: 0x5d9072ee465aacec of 64 answers
