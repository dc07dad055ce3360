//! 128-bit division, which is a library call on most machines.
//! run: threads = 64

pub fn program(thread: u32) -> (u128, u128) {
    let a = u128::MAX / (u128::from(thread) + 1);
    let b = (u128::from(thread) << 64 | 0xdead_beef) + 1;
    (a / b, a % b)
}

// expect: 0x1264eb564,0x6d3931bdbd64f725,0,0x67e9d74f 0,0x7fffffff90a92088,0,0x60d8e689ef64907f
// expect: 0,0x2aaaaaaa981c3016,1,0x65797bc23c59ecb5 0,0x155555554f25d724,0,0x56162241b85963f
// expect: 0,0xcccccccca043a69,3,0x359f05c424ed82c3 0,0x8888888870c7eba,0,0xabf53d19d933d04a
// expect: 0,0x6186186177f4f7f,0,0x49e95729c5648014 0,0x492492491b7b854,2,0x7e7e90a030d93f
// hash: 0x160293df34441b0f of 64 answers
