//! Panic messages on the device: walks the byte template of a `fmt::Arguments`
//! and writes text into a fixed buffer.
//!
//! The template's encoding is that of rustc 1.92 and later (`core::fmt`, comment
//! on `Arguments`). Arguments of primitive type are written as Rust writes them;
//! anything else, and options such as width, leave the placeholder `{}` in the
//! text.

/// Text in a fixed buffer; what does not fit is cut off.
pub(super) struct Text {
    start: *mut u8,
    len: u32,
    capacity: u32,
}

impl Text {
    /// Empty text in `buffer`.
    pub(super) fn new<const N: usize>(buffer: *mut [u8; N]) -> Self {
        Self { start: buffer.cast(), len: 0, capacity: N as u32 }
    }

    /// Bytes written.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Appends `len` bytes at `bytes`.
    ///
    /// # Safety
    ///
    /// The bytes are readable and the buffer is still writable.
    pub(super) unsafe fn push(&mut self, bytes: *const u8, len: usize) {
        let mut i = 0;
        while i < len && self.len < self.capacity {
            // SAFETY: in bounds of both by the loop's condition.
            unsafe { *self.start.add(self.len as usize) = *bytes.add(i) };
            self.len += 1;
            i += 1;
        }
    }

    fn push_str(&mut self, text: &str) {
        // SAFETY: a string's bytes are readable; the buffer lives as long as `self`.
        unsafe { self.push(text.as_ptr(), text.len()) }
    }

    fn push_unsigned(&mut self, mut value: u64) {
        const DIGITS: usize = 20;
        let mut digits = [0u8; DIGITS];
        let mut at = DIGITS;
        loop {
            at -= 1;
            digits[at % DIGITS] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        // SAFETY: `at < DIGITS`, and the digits from there on are written.
        unsafe { self.push(digits.as_ptr().add(at), DIGITS - at) }
    }

    fn push_signed(&mut self, value: i64) {
        if value < 0 {
            self.push_str("-");
        }
        self.push_unsigned(value.unsigned_abs());
    }
}

/// How a formatting function is known to `raddle-build`, which gives
/// `__raddle_format_code` a body that compares addresses.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Code {
    U8 = 1,
    U16 = 2,
    U32 = 3,
    U64 = 4,
    I8 = 5,
    I16 = 6,
    I32 = 7,
    I64 = 8,
    Bool = 9,
    Str = 10,
    Char = 11,
}

unsafe extern "C" {
    /// Which [`Code`] the formatting function at `formatter` has; 0 if none.
    fn __raddle_format_code(formatter: *const u8) -> u32;
}

/// One `fmt::rt::Argument`: the value's address and the formatting function.
#[repr(C)]
struct Argument {
    value: *const u8,
    formatter: *const u8,
}

/// Writes the message of a `fmt::Arguments`, given as its two words.
///
/// # Safety
///
/// The words are those of a valid `fmt::Arguments`.
pub(super) unsafe fn format_message(text: &mut Text, template: *const u8, args: *const u8) {
    // SAFETY: see each step; the template is valid by the caller's contract.
    unsafe {
        if args.addr() & 1 == 1 {
            text.push(template, args.addr() >> 1);
            return;
        }
        let args = args.cast::<Argument>();
        let mut at = template;
        let mut next = 0;
        loop {
            let byte = *at;
            at = at.add(1);
            match byte {
                0 => return,
                1..=0x7F => {
                    text.push(at, usize::from(byte));
                    at = at.add(usize::from(byte));
                }
                0x80 => {
                    let len = usize::from(read_u16(at));
                    text.push(at.add(2), len);
                    at = at.add(2 + len);
                }
                options => {
                    let has = |bit: u8| usize::from(options >> bit & 1);
                    at = at.add(4 * has(0) + 2 * has(1) + 2 * has(2));
                    if has(3) == 1 {
                        next = usize::from(read_u16(at));
                        at = at.add(2);
                    }
                    push_argument(text, &*args.add(next));
                    next += 1;
                }
            }
        }
    }
}

unsafe fn read_u16(at: *const u8) -> u16 {
    // SAFETY: the template holds two bytes there.
    unsafe { u16::from_le_bytes([*at, *at.add(1)]) }
}

unsafe fn push_argument(text: &mut Text, argument: &Argument) {
    let value = argument.value;
    // SAFETY: the code tells the type of the value behind the pointer.
    unsafe {
        let code = __raddle_format_code(argument.formatter);
        let is = |wanted: Code| code == wanted as u32;
        if is(Code::U8) {
            text.push_unsigned(u64::from(*value));
        } else if is(Code::U16) {
            text.push_unsigned(u64::from(*value.cast::<u16>()));
        } else if is(Code::U32) {
            text.push_unsigned(u64::from(*value.cast::<u32>()));
        } else if is(Code::U64) {
            text.push_unsigned(*value.cast::<u64>());
        } else if is(Code::I8) {
            text.push_signed(i64::from(*value.cast::<i8>()));
        } else if is(Code::I16) {
            text.push_signed(i64::from(*value.cast::<i16>()));
        } else if is(Code::I32) {
            text.push_signed(i64::from(*value.cast::<i32>()));
        } else if is(Code::I64) {
            text.push_signed(*value.cast::<i64>());
        } else if is(Code::Bool) {
            text.push_str(if *value == 0 { "false" } else { "true" });
        } else if is(Code::Str) {
            let words = value.cast::<(*const u8, usize)>();
            text.push((*words).0, (*words).1);
        } else if is(Code::Char) {
            push_char(text, *value.cast::<u32>());
        } else {
            text.push_str("{}");
        }
    }
}

fn push_char(text: &mut Text, code: u32) {
    let tail = |shift: u32| 0x80 | (code >> shift & 0x3F) as u8;
    let (bytes, len) = match code {
        0..0x80 => ([code as u8, 0, 0, 0], 1),
        0x80..0x800 => ([0xC0 | (code >> 6) as u8, tail(0), 0, 0], 2),
        0x800..0x1_0000 => ([0xE0 | (code >> 12) as u8, tail(6), tail(0), 0], 3),
        _ => ([0xF0 | (code >> 18) as u8, tail(12), tail(6), tail(0)], 4),
    };
    // SAFETY: `len` bytes of the array are written.
    unsafe { text.push(bytes.as_ptr(), len) }
}
