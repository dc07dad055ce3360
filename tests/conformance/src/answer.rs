//! How a program's result becomes words: each thread's answer is written as up to
//! eight `u64`, so that every program runs through one kind of output buffer.
//!
//! This module is compiled for the device too (`kernels.rs` includes it), so only
//! what the host alone needs is behind `cfg(not(raddle_device))`. NaNs are folded
//! to one: Rust does not promise the bits of a computed NaN, and devices differ.

/// What one thread writes.
pub type Words = [u64; 8];

/// How to read a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned integer, a `bool` or a `char`.
    Unsigned,
    /// A signed integer, sign-extended.
    Signed,
    /// The bits of an `f32`.
    F32,
    /// The bits of an `f64`.
    F64,
}

/// A value that a program may return.
pub trait Answer {
    /// Number of words it takes.
    const LEN: usize;
    /// Writes the words at the start of `words`, which has at least `LEN`.
    fn write(self, words: &mut [u64]);
    /// Appends the kinds of the words.
    #[cfg(not(raddle_device))]
    fn kinds(kinds: &mut Vec<Kind>);
}

/// The words of an answer, zeros behind it.
#[inline(always)]
pub fn words<A: Answer>(answer: A) -> Words {
    const { assert!(A::LEN <= 8, "an answer has at most eight words") };
    let mut words = [0; 8];
    answer.write(&mut words);
    words
}

macro_rules! integers {
    ($kind:ident as $wide:ty: $($ty:ty)*) => { $(
        impl Answer for $ty {
            const LEN: usize = 1;
            #[inline(always)]
            fn write(self, words: &mut [u64]) {
                words[0] = self as $wide as u64;
            }
            #[cfg(not(raddle_device))]
            fn kinds(kinds: &mut Vec<Kind>) {
                kinds.push(Kind::$kind);
            }
        }
    )* };
}
integers!(Unsigned as u64: u8 u16 u32 u64 usize bool char);
integers!(Signed as i64: i8 i16 i32 i64 isize);

macro_rules! wide_integers {
    ($($ty:ty)*) => { $(
        impl Answer for $ty {
            const LEN: usize = 2;
            #[inline(always)]
            fn write(self, words: &mut [u64]) {
                words[0] = (self >> 64) as u64;
                words[1] = self as u64;
            }
            #[cfg(not(raddle_device))]
            fn kinds(kinds: &mut Vec<Kind>) {
                kinds.extend([Kind::Unsigned; 2]);
            }
        }
    )* };
}
wide_integers!(u128 i128);

macro_rules! floats {
    ($($ty:ident $kind:ident)*) => { $(
        impl Answer for $ty {
            const LEN: usize = 1;
            #[inline(always)]
            fn write(self, words: &mut [u64]) {
                words[0] = if self.is_nan() { $ty::NAN.to_bits() } else { self.to_bits() } as u64;
            }
            #[cfg(not(raddle_device))]
            fn kinds(kinds: &mut Vec<Kind>) {
                kinds.push(Kind::$kind);
            }
        }
    )* };
}
floats!(f32 F32 f64 F64);

impl Answer for () {
    const LEN: usize = 0;
    fn write(self, _words: &mut [u64]) {}
    #[cfg(not(raddle_device))]
    fn kinds(_kinds: &mut Vec<Kind>) {}
}

impl<T: Answer> Answer for Option<T> {
    const LEN: usize = 1 + T::LEN;
    #[inline(always)]
    fn write(self, words: &mut [u64]) {
        words[0] = u64::from(self.is_some());
        if let Some(value) = self {
            value.write(&mut words[1..]);
        }
    }
    #[cfg(not(raddle_device))]
    fn kinds(kinds: &mut Vec<Kind>) {
        kinds.push(Kind::Unsigned);
        T::kinds(kinds);
    }
}

impl<T: Answer, const N: usize> Answer for [T; N] {
    const LEN: usize = N * T::LEN;
    #[inline(always)]
    fn write(self, words: &mut [u64]) {
        for (i, value) in self.into_iter().enumerate() {
            value.write(&mut words[i * T::LEN..]);
        }
    }
    #[cfg(not(raddle_device))]
    fn kinds(kinds: &mut Vec<Kind>) {
        for _ in 0..N {
            T::kinds(kinds);
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $field:tt),*))*) => { $(
        impl<$($name: Answer),*> Answer for ($($name,)*) {
            const LEN: usize = 0 $(+ $name::LEN)*;
            #[inline(always)]
            fn write(self, words: &mut [u64]) {
                let mut at = 0;
                $(
                    self.$field.write(&mut words[at..]);
                    at += $name::LEN;
                )*
                let _ = at;
            }
            #[cfg(not(raddle_device))]
            fn kinds(kinds: &mut Vec<Kind>) {
                $($name::kinds(kinds);)*
            }
        }
    )* };
}
tuples! { (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) (A 0, B 1, C 2, D 3, E 4, F 5) }
