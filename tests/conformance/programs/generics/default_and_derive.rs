//! Derived `Default`, `PartialEq`, `PartialOrd`, `Clone` on nested structs.
//! run: threads = 64

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Inner {
    a: u16,
    b: f32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
struct Outer {
    inner: Inner,
    pair: (u8, Option<i32>),
    list: [i64; 3],
}

pub fn program(thread: u32) -> (bool, bool, bool, i64) {
    let base = Outer::default();
    let changed = Outer { pair: (0, (thread % 3 == 0).then_some(-1)), ..base };
    let mut third = changed;
    third.list[1] = i64::from(thread) - 32;
    let copy = third.clone();
    (base == changed, third < base, copy <= third, copy.list.iter().sum())
}

// expect: 0,0,1,-32 1,1,1,-31 1,1,1,-30 0,0,1,-29 1,1,1,-28 1,1,1,-27 0,0,1,-26 1,1,1,-25
// hash: 0x0cdf908026431e44 of 64 answers
