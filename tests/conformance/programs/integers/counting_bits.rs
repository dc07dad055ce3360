//! Leading and trailing zeros and ones, and the population count.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 8] {
    let x = thread.wrapping_mul(thread).wrapping_mul(0x00f1_0c80);
    [
        x.leading_zeros(),
        x.trailing_zeros(),
        x.count_ones(),
        x.count_zeros(),
        (!x).leading_ones(),
        (x | 0xff).trailing_ones(),
        (x as u8).leading_zeros(),
        (u64::from(x) << 17).leading_zeros(),
    ]
}

// expect: 32,32,0,32,32,8,8,64 8,7,8,24,8,8,0,23 6,9,8,24,6,8,8,21 4,7,10,22,4,8,0,19
// expect: 4,11,8,24,4,8,8,19 3,7,11,21,3,8,0,18 2,9,10,22,2,8,8,17 2,7,11,21,2,8,0,17
// hash: 0x1456214b590654cf of 64 answers
