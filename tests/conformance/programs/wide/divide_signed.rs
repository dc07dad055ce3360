//! Signed 128-bit division truncates toward zero.
//! run: threads = 64

pub fn program(thread: u32) -> (i128, i128) {
    let a = (i128::from(thread) - 31) * 0x1234_5678_9abc_def0_1234;
    let b = if thread % 3 == 0 { -997 } else { 1_000_000_007_000 };
    (a / b, a % b)
}

// expect: 144,0xe7ba504d4137fe83,0xffffffffffffffff,0xffffffffffffffe3
// expect: 0xffffffffffffffff,0xfffffda785224067,0xffffffffffffffff,0xffffff2a8ce36d80
// expect: 0xffffffffffffffff,0xfffffdbb893ab5b9,0xffffffffffffffff,0xffffff1a61dc6584
// expect: 130,0xe1d192da6c74a3d1,0xffffffffffffffff,0xffffffffffffff45
// expect: 0xffffffffffffffff,0xfffffde3916ba05c,0xffffffffffffffff,0xffffffe2e07380e4
// expect: 0xffffffffffffffff,0xfffffdf7958415ae,0xffffffffffffffff,0xffffffd2b56c78e8
// expect: 116,0xdbe8d56797b1491f,0xffffffffffffffff,0xfffffffffffffea7
// expect: 0xffffffffffffffff,0xfffffe1f9db50052,0xffffffffffffffff,0xffffffb25f5e68f0
// hash: 0xeafc94e09842d760 of 64 answers
