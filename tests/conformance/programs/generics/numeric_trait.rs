//! Arithmetic over a numeric trait, for integers and floats.
//! run: threads = 64

use core::ops::{Add, Mul, Sub};

trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> {
    const ZERO: Self;
    const ONE: Self;
}

macro_rules! numbers {
    ($($ty:ty)*) => { $(
        impl Number for $ty {
            const ZERO: Self = 0 as $ty;
            const ONE: Self = 1 as $ty;
        }
    )* };
}
numbers!(i32 i64 f32 f64);

fn power<N: Number>(base: N, exponent: u32) -> N {
    (0..exponent).fold(N::ONE, |product, _| product * base)
}

fn alternating<N: Number>(terms: &[N]) -> N {
    terms.chunks(2).fold(N::ZERO, |sum, pair| match *pair {
        [a, b] => sum + a - b,
        [a] => sum + a,
        _ => sum,
    })
}

pub fn program(thread: u32) -> (i32, i64, f32, f64) {
    let t = thread as i32 - 30;
    (
        power(t, 3),
        power(i64::from(t), 5),
        alternating(&[0.5, t as f32, 2.5]),
        power(f64::from(t) * 0.5, 4) + alternating(&[1.0, 2.0]),
    )
}

// expect: -27000,-24300000,33.0,50624.0 -24389,-20511149,32.0,44204.0625
// expect: -21952,-17210368,31.0,38415.0 -19683,-14348907,30.0,33214.0625
// expect: -17576,-11881376,29.0,28560.0 -15625,-9765625,28.0,24413.0625
// expect: -13824,-7962624,27.0,20735.0 -12167,-6436343,26.0,17489.0625
// hash: 0xc04a4cdeace044eb of 64 answers
