//! Casts from floats saturate, and NaN becomes zero.
//! run: threads = 64

pub fn program(thread: u32) -> [i64; 7] {
    let specials = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e10, -1e10, 255.9, -1.5];
    let x = specials[thread as usize % 8] * if thread < 32 { 1.0 } else { 0.5 };
    [
        i64::from(x as u8),
        i64::from(x as i8),
        i64::from(x as u16),
        i64::from(x as i32),
        i64::from(x as u32),
        x as i64,
        x as u64 as i64,
    ]
}

// expect: 0,0,0,0,0,0,0 255,127,65535,2147483647,4294967295,9223372036854775807,-1
// expect: 0,-128,0,-2147483648,0,-9223372036854775808,0 0,0,0,0,0,0,0
// expect: 255,127,65535,2147483647,4294967295,10000000000,10000000000
// expect: 0,-128,0,-2147483648,0,-10000000000,0 255,127,255,255,255,255,255 0,-1,0,-1,0,-1,0
// hash: 0xc395c899abe85e95 of 64 answers
