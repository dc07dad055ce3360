//! Negation and absolute value of narrow numbers wrap at their own width.
//!
//! The least 8- and 16-bit numbers are their own negatives; a device that computes
//! in wider registers must cut the result before it is extended again.
//! run: threads = 64

pub fn program(thread: u32) -> (i16, i64, i16, i32, i8, i32) {
    let narrow = i16::MIN.wrapping_add((thread % 4) as i16);
    let byte = i8::MIN.wrapping_add((thread % 4) as i8);
    (
        narrow.wrapping_neg(),
        i64::from(0i16.wrapping_sub(narrow)),
        narrow.wrapping_abs(),
        i32::from(narrow.wrapping_neg()) + 1,
        byte.wrapping_abs(),
        i32::from(byte.wrapping_neg()) * 2,
    )
}

// expect: -32768,-32768,-32768,-32767,-128,-256 32767,32767,32767,32768,127,254
// expect: 32766,32766,32766,32767,126,252 32765,32765,32765,32766,125,250
// expect: -32768,-32768,-32768,-32767,-128,-256 32767,32767,32767,32768,127,254
// expect: 32766,32766,32766,32767,126,252 32765,32765,32765,32766,125,250
// hash: 0xb86c0ddf3de90825 of 64 answers
