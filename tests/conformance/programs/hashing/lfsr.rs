//! A linear-feedback shift register and its period.
//! run: threads = 64

pub fn program(thread: u32) -> (u16, u32) {
    let step = |s: u16| s >> 1 ^ if s & 1 == 1 { 0x00b8 } else { 0 };
    let start = (thread as u16 & 0xff).max(1);
    let mut state = step(start);
    let mut period = 1;
    while state != start {
        state = step(state);
        period += 1;
    }
    ((0..thread).fold(start, |s, _| step(s)), period)
}

// expect: 1,255 184,255 184,255 114,255 92,255 157,255 164,255 154,255
// hash: 0x892e4357e22f0c90 of 64 answers
