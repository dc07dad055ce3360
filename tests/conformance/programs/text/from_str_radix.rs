//! `str::parse` and `from_str_radix` of the standard library.
//! run: threads = 64

const TEXTS: [&str; 8] = ["42", "-17", "2147483648", "+9", "", "1e3", "ff", "0101"];

pub fn program(thread: u32) -> (Option<i32>, Option<u8>, Option<u64>) {
    let text = TEXTS[thread as usize % 8];
    let radix = if thread < 32 { 16 } else { 2 };
    (text.parse().ok(), text.parse().ok(), u64::from_str_radix(text, radix).ok())
}

// expect: 1,42,1,42,1,66 1,-17,0,0,0,0 0,0,0,0,1,0x2147483648 1,9,1,9,1,9 0,0,0,0,0,0
// expect: 0,0,0,0,1,483 0,0,0,0,1,255 1,101,1,101,1,257
// hash: 0x606dc7bf6e97997d of 64 answers
