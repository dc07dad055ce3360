//! Panic messages on their way from a kernel to the host: text in which values of
//! primitive types stand as their bits, to be formatted by [`decode`].
//!
//! ```text
//! value:   U+FDD0 type trait options hexadecimal digits
//! string:  U+FDD0 's'  trait options text U+FDD1
//! options: '0', or '1' and the hexadecimal digits of flags (8), width (4), precision (4)
//! ```
//!
//! The type is a letter of [`SCALARS`]. The trait is `D` for `Display`, `?` for `Debug`,
//! `x`, `X`, `o`, `b`, `e` or `E`. The flags are those of `core::fmt::FormattingOptions`.
//! In a string U+FDD2 stands for a line feed. U+FDD0 and its neighbours are
//! noncharacters, which Unicode keeps for such uses inside a program.

/// Before a value or a string.
pub const BEGIN: &str = "\u{FDD0}";
/// After a string.
pub const END: &str = "\u{FDD1}";
/// A line feed in a string.
pub const BREAK: &str = "\u{FDD2}";

/// The letters of types other than strings, and their sizes in bytes: unsigned
/// integers, signed ones, floats, `bool`, `char` and `()`.
pub const SCALARS: [(u8, u8); 15] = [
    (b'a', 1),
    (b'b', 2),
    (b'c', 4),
    (b'd', 8),
    (b'e', 16),
    (b'f', 1),
    (b'g', 2),
    (b'h', 4),
    (b'i', 8),
    (b'j', 16),
    (b'k', 4),
    (b'l', 8),
    (b'm', 1),
    (b'n', 4),
    (b'o', 0),
];

/// The options of a placeholder, encoded as in `core::fmt::FormattingOptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The fill character in 21 bits, and the flags below.
    pub flags: u32,
    /// The width if its flag is set.
    pub width: u16,
    /// The precision if its flag is set.
    pub precision: u16,
}

#[expect(missing_docs, reason = "the names are those of core's flags")]
impl Options {
    pub const SIGN_PLUS: u32 = 1 << 21;
    pub const SIGN_MINUS: u32 = 1 << 22;
    pub const ALTERNATE: u32 = 1 << 23;
    pub const ZERO_PAD: u32 = 1 << 24;
    pub const DEBUG_LOWER_HEX: u32 = 1 << 25;
    pub const DEBUG_UPPER_HEX: u32 = 1 << 26;
    pub const WIDTH: u32 = 1 << 27;
    pub const PRECISION: u32 = 1 << 28;
    pub const ALIGN_LEFT: u32 = 0;
    pub const ALIGN_RIGHT: u32 = 1 << 29;
    pub const ALIGN_CENTER: u32 = 2 << 29;
    pub const ALIGN_UNKNOWN: u32 = 3 << 29;

    /// Those of `{}`.
    pub const DEFAULT: Self =
        Self { flags: ' ' as u32 | Self::ALIGN_UNKNOWN, width: 0, precision: 0 };

    /// Whether these are the options of `{}`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.flags == Self::DEFAULT.flags
    }
}

#[cfg(not(raddle_device))]
mod host;
#[cfg(all(test, not(raddle_device)))]
mod tests;

#[cfg(not(raddle_device))]
pub use host::decode;
