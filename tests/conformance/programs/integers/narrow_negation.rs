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
