//! Field-less enums cast to their discriminants and back by a match.
//! run: threads = 64

#[derive(Clone, Copy, PartialEq)]
#[repr(i16)]
enum Level {
    Low = -300,
    Middle,
    High = 4000,
    Top,
}

impl TryFrom<i16> for Level {
    type Error = i16;
    fn try_from(value: i16) -> Result<Self, i16> {
        [Level::Low, Level::Middle, Level::High, Level::Top]
            .into_iter()
            .find(|level| *level as i16 == value)
            .ok_or(value)
    }
}

pub fn program(thread: u32) -> (i16, u8, bool) {
    let level = match thread % 4 {
        0 => Level::Low,
        1 => Level::Middle,
        2 => Level::High,
        _ => Level::Top,
    };
    let value = level as i16;
    (value, level as u8, Level::try_from(value + (thread / 32) as i16).is_ok())
}

// expect: -300,212,1 -299,213,1 4000,160,1 4001,161,1 -300,212,1 -299,213,1 4000,160,1 4001,161,1
// hash: 0xca779193d5ab1925 of 64 answers
