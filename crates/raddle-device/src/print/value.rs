//! The arguments of a device `print!` as `vprintf` takes them: one word each, and
//! text that the thread has made for it.

use super::float::float_text;
#[cfg(raddle_device)]
use super::translate::Translation;
use super::translate::{ARGUMENTS_MAX, Kind, Printable, Spec};

/// A format string as a type, so that constants can be made from it.
#[doc(hidden)]
pub trait Format {
    /// The string.
    const TEXT: &'static str;
}

/// NUL-terminated text in the thread's own memory.
#[doc(hidden)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    /// Adds a byte; what does not fit is cut off.
    pub(super) fn push(&mut self, byte: u8) {
        // The last byte stays NUL.
        if let Some(place) = self.bytes[..N - 1].get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(super) fn push_all(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.push(byte);
        }
    }

    /// Adds a character as UTF-8, escaped as by `{:?}` if `is_debug`.
    fn push_char(&mut self, character: char, is_debug: bool, quote: char) {
        let escape = match character {
            '\n' => Some(b'n'),
            '\t' => Some(b't'),
            '\r' => Some(b'r'),
            '\0' => Some(b'0'),
            '\\' => Some(b'\\'),
            other if other == quote => Some(quote as u8),
            _ => None,
        };
        match escape {
            Some(letter) if is_debug => self.push_all(&[b'\\', letter]),
            _ => {
                let mut utf8 = [0; 4];
                self.push_all(character.encode_utf8(&mut utf8).as_bytes());
            }
        }
    }

    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..self.len]).unwrap()
    }
}

/// A value that a GPU prints.
#[doc(hidden)]
pub trait Value: Printable {
    /// Bytes of text that the value needs.
    type Text;
    /// Empty text.
    const EMPTY: Self::Text;
    /// The word that `vprintf` gets, which may point into `text`.
    fn word(&self, spec: Spec, text: &mut Self::Text) -> u64;
}

macro_rules! integers {
    ($($ty:ty),*) => { $(
        impl Value for $ty {
            type Text = ();
            const EMPTY: () = ();
            #[inline(always)]
            fn word(&self, spec: Spec, (): &mut ()) -> u64 {
                let extended = *self as i64 as u64;
                // Base 16 shows the type's own bits.
                if spec.is_hex() { extended & (u64::MAX >> (64 - <$ty>::BITS)) } else { extended }
            }
        }
    )* };
}
integers!(i8, i16, i32, i64, isize, u8, u16, u32, u64, usize);

macro_rules! floats {
    ($($ty:ty: $text:ident;)*) => { $(
        impl Value for $ty {
            type Text = Text<64>;
            const EMPTY: Text<64> = Text::new();
            #[inline(always)]
            fn word(&self, spec: Spec, text: &mut Text<64>) -> u64 {
                if spec.has_precision() {
                    return f64::from(*self).to_bits();
                }
                float_text(super::float::$text(*self), spec.is_debug(), text);
                (&raw const text.bytes) as u64
            }
        }
    )* };
}
floats!(f32: parts_of_f32; f64: parts_of_f64;);

impl Value for bool {
    type Text = ();
    const EMPTY: () = ();
    #[inline(always)]
    fn word(&self, _spec: Spec, (): &mut ()) -> u64 {
        (if *self { c"true" } else { c"false" }).as_ptr() as u64
    }
}

impl Value for char {
    type Text = Text<8>;
    const EMPTY: Text<8> = Text::new();
    fn word(&self, spec: Spec, text: &mut Text<8>) -> u64 {
        if spec.is_debug() {
            text.push(b'\'');
        }
        text.push_char(*self, spec.is_debug(), '\'');
        if spec.is_debug() {
            text.push(b'\'');
        }
        (&raw const text.bytes) as u64
    }
}

impl Value for str {
    type Text = Text<128>;
    const EMPTY: Text<128> = Text::new();
    fn word(&self, spec: Spec, text: &mut Text<128>) -> u64 {
        if !spec.is_debug() {
            text.push_all(self.as_bytes());
            return (&raw const text.bytes) as u64;
        }
        text.push(b'"');
        for character in self.chars() {
            text.push_char(character, true, '"');
        }
        text.push(b'"');
        (&raw const text.bytes) as u64
    }
}

macro_rules! pointers {
    ($($ty:ty),*) => { $(
        impl<T> Value for $ty {
            type Text = ();
            const EMPTY: () = ();
            #[inline(always)]
            fn word(&self, _spec: Spec, (): &mut ()) -> u64 {
                *self as u64
            }
        }
    )* };
}
pointers!(*const T, *mut T);

impl<T: Value + ?Sized> Value for &T {
    type Text = T::Text;
    const EMPTY: T::Text = T::EMPTY;
    #[inline(always)]
    fn word(&self, spec: Spec, text: &mut T::Text) -> u64 {
        (**self).word(spec, text)
    }
}

/// The arguments of one call.
#[doc(hidden)]
pub trait Values {
    /// Their kinds.
    const KINDS: &'static [Kind];
    /// Makes the words and passes them to `print`.
    fn with_words(self, specs: &[Spec; ARGUMENTS_MAX], print: impl FnOnce(*const u64));
}

macro_rules! values {
    ($($value:ident $text:ident $index:tt),*) => {
        impl<$($value: Value + ?Sized),*> Values for ($(&$value,)*) {
            const KINDS: &'static [Kind] = &[$($value::KIND),*];
            #[inline(always)]
            fn with_words(self, _specs: &[Spec; ARGUMENTS_MAX], print: impl FnOnce(*const u64)) {
                $(let mut $text = $value::EMPTY;)*
                let words: [u64; _] = [$(self.$index.word(_specs[$index], &mut $text)),*];
                print(words.as_ptr());
            }
        }
    };
}
values!();
values!(A a 0);
values!(A a 0, B b 1);
values!(A a 0, B b 1, C c 2);
values!(A a 0, B b 1, C c 2, D d 3);
values!(A a 0, B b 1, C c 2, D d 3, E e 4);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9, K k 10);
values!(A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9, K k 10, L l 11);

/// Prints `values` as `F` says.
#[cfg(raddle_device)]
#[doc(hidden)]
#[inline(always)]
pub fn send<F: Format, V: Values>(values: V) {
    struct Translated<F, V>(core::marker::PhantomData<(F, V)>);
    impl<F: Format, V: Values> Translated<F, V> {
        const WHOLE: &'static Translation = &Translation::new(F::TEXT, V::KINDS);
    }
    unsafe extern "C" {
        /// Provided by the driver.
        fn vprintf(format: *const u8, arguments: *const u64) -> i32;
    }
    let translation = Translated::<F, V>::WHOLE;
    values.with_words(&translation.specs, |words| {
        // SAFETY: the format is NUL-terminated and matches the words by its
        // construction; texts that words point to outlive the call.
        unsafe { vprintf(translation.format.as_ptr(), words) };
    });
}
