//! Casts from `f64` at the edges of 32- and 64-bit ranges.
//! run: threads = 64

pub fn program(thread: u32) -> (i32, u32, i64, u64, i16) {
    let edges =
        [2147483647.5, 2147483648.0, -2147483649.0, 4294967295.9, 9.3e18, 1.9e19, -0.9, 1e300];
    let x = edges[thread as usize % 8] - f64::from(thread / 8);
    (x as i32, x as u32, x as i64, x as u64, x as i16)
}

// expect: 2147483647,0x7fffffff,2147483647,0x7fffffff,32767
// expect: 2147483647,0x80000000,2147483648,0x80000000,32767 -2147483648,0,-2147483649,0,-32768
// expect: 2147483647,0xffffffff,4294967295,0xffffffff,32767
// expect: 2147483647,0xffffffff,9223372036854775807,0x81103cb9fb220000,32767
// expect: 2147483647,0xffffffff,9223372036854775807,0xffffffffffffffff,32767 0,0,0,0,0
// expect: 2147483647,0xffffffff,9223372036854775807,0xffffffffffffffff,32767
// hash: 0x566cf30d793517c2 of 64 answers
