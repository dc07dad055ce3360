//! From Rust's format strings to those of `vprintf`, while compiling.
//!
//! Every argument travels in eight bytes: integers extended, floats as `f64`, and
//! what `vprintf` cannot format as a pointer to text made by the thread.

/// How a type is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed integer of so many bits.
    Signed(u32),
    /// An unsigned integer of so many bits.
    Unsigned(u32),
    /// `f32` or `f64`.
    Float,
    /// `bool`, `char`, `&str`.
    Text,
    /// A raw pointer.
    Pointer,
}

/// Types that kernels can print.
#[diagnostic::on_unimplemented(
    message = "kernels cannot print `{Self}`",
    note = "they print integers up to 64 bits, floats, `bool`, `char`, `&str` and raw pointers"
)]
pub trait Printable {
    /// How.
    const KIND: Kind;
}

macro_rules! printable {
    ($($ty:ty: $kind:expr;)*) => { $(
        impl Printable for $ty {
            const KIND: Kind = $kind;
        }
    )* };
}

printable! {
    i8: Kind::Signed(8);
    i16: Kind::Signed(16);
    i32: Kind::Signed(32);
    i64: Kind::Signed(64);
    isize: Kind::Signed(64);
    u8: Kind::Unsigned(8);
    u16: Kind::Unsigned(16);
    u32: Kind::Unsigned(32);
    u64: Kind::Unsigned(64);
    usize: Kind::Unsigned(64);
    f32: Kind::Float;
    f64: Kind::Float;
    bool: Kind::Text;
    char: Kind::Text;
    str: Kind::Text;
}
impl<T> Printable for *const T {
    const KIND: Kind = Kind::Pointer;
}
impl<T> Printable for *mut T {
    const KIND: Kind = Kind::Pointer;
}
impl<T: Printable + ?Sized> Printable for &T {
    const KIND: Kind = T::KIND;
}

/// The part between `{:` and `}`.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `<` or `>`, or 0.
    align: u8,
    has_plus: bool,
    has_hash: bool,
    has_zero: bool,
    width: Option<u32>,
    precision: Option<u32>,
    /// 0, `?`, `x` or `X`.
    form: u8,
}

impl Spec {
    /// `{}`.
    const PLAIN: Self = Self {
        align: 0,
        has_plus: false,
        has_hash: false,
        has_zero: false,
        width: None,
        precision: None,
        form: 0,
    };

    /// Whether the value is printed by `{:?}`.
    pub(super) const fn is_debug(self) -> bool {
        self.form == b'?'
    }

    /// Whether the value is printed in base 16.
    pub(super) const fn is_hex(self) -> bool {
        self.form == b'x' || self.form == b'X'
    }

    /// Whether the number of decimals is given.
    pub(super) const fn has_precision(self) -> bool {
        self.precision.is_some()
    }
}

/// Checks a format string as far as that goes without the arguments.
///
/// # Panics
///
/// While compiling, if the GPU cannot print it.
pub const fn check(text: &str) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match piece(bytes, at) {
            Piece::Literal(_, next) | Piece::Argument(_, next) => next,
        };
    }
}

/// One step through a format string, with where the next begins.
enum Piece {
    Literal(u8, usize),
    Argument(Spec, usize),
}

const fn piece(bytes: &[u8], at: usize) -> Piece {
    let is_doubled = at + 1 < bytes.len() && bytes[at + 1] == bytes[at];
    match bytes[at] {
        b'{' | b'}' if is_doubled => Piece::Literal(bytes[at], at + 2),
        b'}' => panic!("print: `}}` without `{{`; write `}}}}` for a brace"),
        b'{' => argument(bytes, at + 1),
        0 => panic!("print: the text contains a NUL"),
        byte => Piece::Literal(byte, at + 1),
    }
}

const fn byte_at(bytes: &[u8], at: usize) -> u8 {
    if at < bytes.len() { bytes[at] } else { 0 }
}

const fn argument(bytes: &[u8], mut at: usize) -> Piece {
    let mut spec = Spec::PLAIN;
    if byte_at(bytes, at) == b':' {
        at += 1;
        if matches!(byte_at(bytes, at), b'<' | b'>') {
            spec.align = bytes[at];
            at += 1;
        }
        if byte_at(bytes, at) == b'+' {
            spec.has_plus = true;
            at += 1;
        }
        if byte_at(bytes, at) == b'#' {
            spec.has_hash = true;
            at += 1;
        }
        if byte_at(bytes, at) == b'0' {
            spec.has_zero = true;
            at += 1;
        }
        (spec.width, at) = number(bytes, at);
        if byte_at(bytes, at) == b'.' {
            (spec.precision, at) = number(bytes, at + 1);
            assert!(spec.precision.is_some(), "print: a number of decimals follows the point");
        }
        if matches!(byte_at(bytes, at), b'?' | b'x' | b'X') {
            spec.form = bytes[at];
            at += 1;
        }
    }
    assert!(
        byte_at(bytes, at) == b'}',
        "print: kernels know `{{}}`, `{{:?}}`, `{{:x}}`, `{{:X}}` with `<`, `>`, `+`, `#`, `0`, width and \
         `.N`, and arguments by position"
    );
    Piece::Argument(spec, at + 1)
}

const fn number(bytes: &[u8], mut at: usize) -> (Option<u32>, usize) {
    let (start, mut value) = (at, 0u32);
    while byte_at(bytes, at).is_ascii_digit() {
        value = value * 10 + (bytes[at] - b'0') as u32;
        assert!(value <= 99, "print: widths and numbers of decimals have at most two digits");
        at += 1;
    }
    (if at == start { None } else { Some(value) }, at)
}

/// Most arguments of one call.
pub(super) const ARGUMENTS_MAX: usize = 12;

/// Longest translated format, with its NUL.
const FORMAT_BYTES_MAX: usize = 256;

/// A format string for `vprintf`, and how each argument is printed.
#[derive(Clone, Copy)]
pub(super) struct Translation {
    /// NUL-terminated.
    pub format: [u8; FORMAT_BYTES_MAX],
    len: usize,
    pub specs: [Spec; ARGUMENTS_MAX],
}

impl Translation {
    /// Translates `text` for arguments of the given kinds.
    pub(super) const fn new(text: &str, kinds: &[Kind]) -> Self {
        let bytes = text.as_bytes();
        let mut this =
            Self { format: [0; FORMAT_BYTES_MAX], len: 0, specs: [Spec::PLAIN; ARGUMENTS_MAX] };
        let (mut at, mut used) = (0, 0);
        while at < bytes.len() {
            match piece(bytes, at) {
                Piece::Literal(byte, next) => {
                    if byte == b'%' {
                        this.push(b'%');
                    }
                    this.push(byte);
                    at = next;
                }
                Piece::Argument(spec, next) => {
                    assert!(used < kinds.len(), "print: more `{{}}` than arguments");
                    this.push_conversion(spec, kinds[used]);
                    this.specs[used] = spec;
                    used += 1;
                    at = next;
                }
            }
        }
        assert!(used == kinds.len(), "print: more arguments than `{{}}`");
        this.push(0);
        this
    }

    const fn push(&mut self, byte: u8) {
        assert!(self.len < FORMAT_BYTES_MAX, "print: the format is longer than 255 bytes");
        self.format[self.len] = byte;
        self.len += 1;
    }

    const fn push_number(&mut self, value: u32) {
        if value >= 10 {
            self.push(b'0' + (value / 10) as u8);
        }
        self.push(b'0' + (value % 10) as u8);
    }

    const fn push_conversion(&mut self, spec: Spec, kind: Kind) {
        let is_text = matches!(kind, Kind::Text);
        let is_float = matches!(kind, Kind::Float);
        let is_integer = matches!(kind, Kind::Signed(_) | Kind::Unsigned(_));
        let is_hex = matches!(spec.form, b'x' | b'X');
        assert!(!is_hex || is_integer, "print: only integers print in base 16");
        assert!(spec.precision.is_none() || is_float, "print: only floats have decimals");
        assert!(
            !spec.has_plus || (matches!(kind, Kind::Signed(_)) && !is_hex),
            "print: `+` is for signed integers"
        );
        assert!(!spec.has_hash || is_hex, "print: `#` is for base 16");
        assert!(!spec.has_hash || spec.width.is_none(), "print: `#` goes without a width");
        let is_made_text = is_text || (is_float && spec.precision.is_none());
        assert!(!spec.has_zero || !is_made_text, "print: `0` is for integers and `.N`");
        if spec.has_hash {
            // The prefix is there for zero too, unlike that of `%#x`.
            self.push(b'0');
            self.push(b'x');
        }
        self.push(b'%');
        // Rust aligns numbers to the right and text to the left.
        if spec.align == b'<' || (is_text && spec.align == 0) {
            if spec.width.is_some() {
                self.push(b'-');
            }
        } else if spec.has_zero {
            self.push(b'0');
        }
        if spec.has_plus {
            self.push(b'+');
        }
        if let Some(width) = spec.width {
            self.push_number(width);
        }
        if let Some(precision) = spec.precision {
            self.push(b'.');
            self.push_number(precision);
        }
        self.push_letters(spec, kind, is_made_text);
    }

    const fn push_letters(&mut self, spec: Spec, kind: Kind, is_made_text: bool) {
        if is_made_text {
            return self.push(b's');
        }
        match kind {
            Kind::Float => self.push(b'f'),
            Kind::Pointer => self.push(b'p'),
            Kind::Signed(_) | Kind::Unsigned(_) | Kind::Text => {
                self.push(b'l');
                self.push(b'l');
                self.push(match (spec.form, kind) {
                    (b'x', _) => b'x',
                    (b'X', _) => b'X',
                    (_, Kind::Signed(_)) => b'd',
                    _ => b'u',
                });
            }
        }
    }
}
