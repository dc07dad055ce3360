//! Integer square roots and logarithms.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u64, u8, u32, u32, u32) {
    let x = thread * thread * 37 + 1;
    let wide = u64::from(x).wrapping_mul(0xffff_ffff_0001);
    (x.isqrt(), wide.isqrt(), (x as u8).isqrt(), x.ilog2(), x.ilog10(), x.ilog(7))
}

// expect: 1,0xffffff,1,0,0,0 6,0x62a1709,6,5,1,1 12,0xc34e0d4,12,7,2,2 18,0x1246921a,8,8,2,2
// expect: 24,0x185a01e3,9,9,2,3 30,0x1e6e24bd,12,9,2,3 36,0x2482a138,7,10,3,3
// expect: 42,0x2a9750f1,4,10,3,3
// hash: 0xeb38cf92329d2728 of 64 answers
