//! `bool`, `char` and integers convert into each other.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, char, Option<u32>, u8, bool) {
    let is_odd = thread % 2 == 1;
    let letter = (b'a' + (thread % 26) as u8) as char;
    let beyond = char::from_u32(0xd7ff + thread % 4).map(u32::from);
    (u32::from(is_odd) + is_odd as u32, letter, beyond, letter as u8, letter > 'm')
}

// expect: 0,97,1,55295,97,0 2,98,0,0,98,0 0,99,0,0,99,0 2,100,0,0,100,0 0,101,1,55295,101,0
// expect: 2,102,0,0,102,0 0,103,0,0,103,0 2,104,0,0,104,0
// hash: 0x265a7666a5a5aced of 64 answers
