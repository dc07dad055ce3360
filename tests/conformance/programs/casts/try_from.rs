//! `TryFrom` between all widths gives errors out of range.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 6] {
    let x = i64::from(thread as i32 - 8) << (thread / 2);
    [
        u32::from(u8::try_from(x).is_ok()),
        u32::from(i8::try_from(x).is_ok()),
        u32::from(u16::try_from(x).is_ok()),
        u32::from(i32::try_from(x).is_ok()),
        u32::from(u32::try_from(x).is_ok()),
        i16::try_from(x).map_or(7777, |x| x as u32 & 0xffff),
    ]
}

// expect: 0,1,0,1,0,65528 0,1,0,1,0,65529 0,1,0,1,0,65524 0,1,0,1,0,65526 0,1,0,1,0,65520
// expect: 0,1,0,1,0,65524 0,1,0,1,0,65520 0,1,0,1,0,65528
// hash: 0xf11fd54782cf4547 of 64 answers
