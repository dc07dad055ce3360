//! Saturating operations stop at the ends of the range.
//! run: threads = 64

pub fn program(thread: u32) -> (u8, i8, i8, u32, i64, u16) {
    let t = thread as i8;
    (
        (thread as u8).saturating_mul(7),
        t.saturating_sub(100).saturating_sub(40),
        t.saturating_mul(-5),
        30u32.saturating_sub(thread),
        (i64::MAX - 31).saturating_add(i64::from(thread)),
        3u16.saturating_pow(thread % 16),
    )
}

// expect: 0,-128,0,30,9223372036854775776,1 7,-128,-5,29,9223372036854775777,3
// expect: 14,-128,-10,28,9223372036854775778,9 21,-128,-15,27,9223372036854775779,27
// expect: 28,-128,-20,26,9223372036854775780,81 35,-128,-25,25,9223372036854775781,243
// expect: 42,-128,-30,24,9223372036854775782,729 49,-128,-35,23,9223372036854775783,2187
// hash: 0xfa4c4ca6aa13bd25 of 64 answers
