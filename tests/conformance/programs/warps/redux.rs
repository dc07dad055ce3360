//! The one-instruction reductions of integers.
//! run: threads = 64
//! device

use raddle::device::Lanes;

pub fn program(thread: u32) -> [i64; 6] {
    let signed = thread as i32 * 37 % 50 - 25;
    [
        Lanes::ALL.redux_add(signed).into(),
        Lanes::ALL.redux_min(signed).into(),
        Lanes::ALL.redux_max(signed).into(),
        Lanes::ALL.redux_and(thread | 0xf0).into(),
        Lanes::ALL.redux_or(thread << 4).into(),
        Lanes::ALL.redux_xor(thread * thread).into(),
    ]
}

// expect: 2,-25,24,240,496,896 2,-25,24,240,496,896 2,-25,24,240,496,896 2,-25,24,240,496,896
// expect: 2,-25,24,240,496,896 2,-25,24,240,496,896 2,-25,24,240,496,896 2,-25,24,240,496,896
// hash: 0x66eae01330a63265 of 64 answers
