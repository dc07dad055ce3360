//! The ends of signed ranges under wrapping operations.
//! run: threads = 64

pub fn program(thread: u32) -> (i8, i16, i32, i64, i32) {
    let t = thread as i32;
    (
        (t as i8 + 64).wrapping_neg().wrapping_sub(1).wrapping_abs(),
        (i16::MIN + t as i16).wrapping_neg(),
        (i32::MIN + t).wrapping_abs(),
        (i64::MIN + i64::from(t)).wrapping_div(-1),
        (i32::MIN + t).wrapping_rem(-1 - t),
    )
}

// expect: 65,-32768,-2147483648,-9223372036854775808,0 66,32767,2147483647,9223372036854775807,-1
// expect: 67,32766,2147483646,9223372036854775806,0 68,32765,2147483645,9223372036854775805,-1
// expect: 69,32764,2147483644,9223372036854775804,-4 70,32763,2147483643,9223372036854775803,-3
// expect: 71,32762,2147483642,9223372036854775802,-3 72,32761,2147483641,9223372036854775801,-1
// hash: 0x63cc8e34493bf4e6 of 64 answers
