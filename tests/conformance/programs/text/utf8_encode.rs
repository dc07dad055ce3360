//! Encoding characters as UTF-8 and checking the result.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, usize, bool) {
    let c = char::from_u32(thread * thread * 31 + 65).unwrap_or('?');
    let mut buffer = [0u8; 4];
    let len = c.encode_utf8(&mut buffer).len();
    let valid = core::str::from_utf8(&buffer[..len]).is_ok();
    let broken = core::str::from_utf8(&buffer[..len.saturating_sub(1)]).is_ok();
    (u32::from_le_bytes(buffer), len, valid && (broken == (len == 1)))
}

// expect: 65,1,1 96,1,1 48578,2,1 39109,2,1 45512,2,1 35021,2,1 40402,2,1 45272,2,1
// hash: 0xcf06a4d398565de2 of 64 answers
