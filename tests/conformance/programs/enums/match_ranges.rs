//! Range patterns, half open and closed, over integers and chars.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let class = match thread as i8 - 20 {
        i8::MIN..-10 => 0,
        -10..=-1 => 1,
        0 => 2,
        1..20 => 3,
        20.. => 4,
    };
    let letter = match char::from_u32(thread + 40) {
        Some('0'..='9') => 10,
        Some('A'..='Z') => 20,
        Some('a'..='z') => 30,
        Some(_) => 40,
        None => 50,
    };
    (class, letter)
}

// expect: 0,40 0,40 0,40 0,40 0,40 0,40 0,40 0,40
// hash: 0x19ed9aa5ff9f3dd2 of 64 answers
