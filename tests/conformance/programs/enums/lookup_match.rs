//! A `match` from values to constants, as a lookup table.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, f32, i8) {
    let days = match thread % 12 {
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    let weight = match thread % 8 {
        0 => 0.5,
        1 => 1.25,
        2 => -3.0,
        3 => 8.75,
        4 => 1e-3,
        5 => 6.0,
        6 => 0.0,
        _ => 42.0,
    };
    let sign = match (thread % 3, thread % 2 == 0) {
        (0, true) => -1,
        (0, false) => 1,
        (1, even) => i8::from(even) * 7,
        (_, even) => -i8::from(!even) * 9,
    };
    (days, weight, sign)
}

// expect: 31,0.5,-1 28,1.25,0 31,-3.0,0 30,8.75,1 31,0.001,7 30,6.0,-9 31,0.0,-1 31,42.0,0
// hash: 0x18583fced0da3d15 of 64 answers
