//! Morton codes: bits of two coordinates interleaved and taken apart again.
//! run: threads = 64

fn spread(x: u16) -> u32 {
    let x = u32::from(x);
    let x = (x | x << 8) & 0x00ff_00ff;
    let x = (x | x << 4) & 0x0f0f_0f0f;
    let x = (x | x << 2) & 0x3333_3333;
    (x | x << 1) & 0x5555_5555
}

fn gather(code: u32) -> u16 {
    let x = code & 0x5555_5555;
    let x = (x | x >> 1) & 0x3333_3333;
    let x = (x | x >> 2) & 0x0f0f_0f0f;
    let x = (x | x >> 4) & 0x00ff_00ff;
    (x | x >> 8) as u16
}

pub fn program(thread: u32) -> (u32, u16, u16) {
    let (x, y) = (thread as u16 * 311, thread as u16 * 97 + 5);
    let code = spread(x) | spread(y) << 1;
    (code, gather(code), gather(code >> 1))
}

// expect: 34,0,5 77117,311,102 308350,622,199 478353,933,296 1233362,1244,393 1485197,1555,490
// expect: 1913038,1866,587 4769953,2177,684
// hash: 0x44363d1aa8a68a44 of 64 answers
