//! Panic messages on the device: text in the record's fixed buffer.
//!
//! Values of primitive types are not turned into digits here. They are written as
//! they are, with the options of their placeholder, in the form that
//! [`crate::message`] describes, and the host formats them as `core` does: code for
//! decimal digits of floats would be longer than most kernels.
//!
//! A message whose arguments are all of that kind is put together by
//! `__raddle_rt_write_arguments`, which walks the byte template of the
//! `fmt::Arguments` (encoded as rustc 1.92 and later do, see `core::fmt`) without a
//! call through a pointer. If other types are formatted, `raddle-build` puts
//! `__raddle_rt_write_arguments_full` in its place, which is `core::fmt::write`.

use core::fmt::{self, Alignment, Arguments, Debug, Formatter, Write as _};
use core::mem::offset_of;

use crate::kernel::PanicRecord;
use crate::message::{BEGIN, BREAK, END, Options, SCALARS};

/// Text in a fixed buffer; what does not fit is counted and not written.
///
/// The buffer follows these two words. Whoever panics passes one address, so that a
/// message costs the kernel neither registers nor stack.
#[repr(C)]
pub(super) struct Text {
    len: u32,
    capacity: u32,
}

/// A value that is kept in memory. ptxas adds up the registers that hold values over
/// calls, along every chain of calls, and the sum is what each thread of the kernel
/// gets; what is kept like this does not count.
struct Kept<T>(T);

impl<T: Copy> Kept<T> {
    fn get(&self) -> T {
        // SAFETY: a valid reference.
        unsafe { (&raw const self.0).read_volatile() }
    }

    fn set(&mut self, value: T) {
        // SAFETY: a valid reference.
        unsafe { (&raw mut self.0).write_volatile(value) }
    }
}

/// What is left to write of a value.
#[derive(Clone, Copy)]
struct Rest {
    text: *mut Text,
    value: *const u8,
    left: usize,
}

/// What is left to write of a message.
#[derive(Clone, Copy)]
struct Walk {
    text: *mut Text,
    at: *const u8,
    args: *const Argument,
    next: usize,
}

/// Some text beside the record's.
#[repr(C)]
struct Piece<const N: usize> {
    text: Text,
    bytes: [u8; N],
}

impl<const N: usize> Piece<N> {
    fn new() -> Self {
        Self { text: Text { len: 0, capacity: N as u32 }, bytes: [0; N] }
    }

    /// What was written.
    fn as_str(&self) -> &str {
        let len = (self.text.len as usize).min(N);
        // SAFETY: only whole characters are written, and `N` is chosen so that they fit.
        unsafe { core::str::from_utf8_unchecked(self.bytes.get_unchecked(..len)) }
    }
}

impl Text {
    /// The empty text of a record.
    ///
    /// # Safety
    ///
    /// The record is this thread's, for as long as the text is used.
    pub(super) unsafe fn of<'a>(record: *mut PanicRecord) -> &'a mut Self {
        const {
            assert!(
                offset_of!(PanicRecord, message)
                    == offset_of!(PanicRecord, message_len) + size_of::<Self>()
            )
        }
        // SAFETY: the caller's record has these words where a text has them.
        unsafe {
            let text = (&raw mut (*record).message_len).cast::<Self>();
            text.write(Self { len: 0, capacity: size_of_val(&(*record).message) as u32 });
            &mut *text
        }
    }

    /// Appends `len` bytes at `bytes`.
    ///
    /// # Safety
    ///
    /// The bytes are readable.
    #[inline(never)]
    pub(super) unsafe fn push(&mut self, bytes: *const u8, len: usize) {
        let mut i = 0;
        while i < len {
            // SAFETY: the caller's bytes.
            self.push_byte(unsafe { bytes.add(i).read_volatile() });
            i += 1;
        }
    }

    fn push_byte(&mut self, byte: u8) {
        if self.len < self.capacity {
            let bytes = (&raw mut *self).wrapping_add(1).cast::<u8>();
            // SAFETY: below the capacity of the buffer that follows the two words.
            unsafe { *bytes.add(self.len as usize) = byte };
        }
        self.len += 1;
    }

    pub(super) fn push_str(&mut self, text: &str) {
        // SAFETY: a string's bytes are readable.
        unsafe { self.push(text.as_ptr(), text.len()) }
    }

    /// Appends the low `digits` hexadecimal digits of `value`.
    #[inline(never)]
    fn push_hex(&mut self, value: u64, digits: u32) {
        let mut left = digits;
        while left > 0 {
            left -= 1;
            let digit = (value >> (4 * left) & 15) as u8;
            self.push_byte(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
        }
    }

    /// Begins a value: its type, its trait and its options.
    #[inline(never)]
    fn begin(&mut self, ty: u8, style: u8, options: &Options) {
        self.push_str(BEGIN);
        self.push_byte(ty);
        self.push_byte(style);
        let is_default = options.is_default();
        self.push_byte(if is_default { b'0' } else { b'1' });
        if !is_default {
            let sizes = u64::from(options.width) << 16 | u64::from(options.precision);
            self.push_hex(u64::from(options.flags) << 32 | sizes, 16);
        }
    }

    /// Appends the value at `value`, of the type and trait that `code` says.
    ///
    /// # Safety
    ///
    /// `value` points to a value of that type, or to a reference to one.
    #[inline(never)]
    unsafe fn push_value(&mut self, code: u32, value: *const u8, options: &Options) {
        let (ty, style) = (code as u8, (code >> 8) as u8);
        let mut references = code >> 16;
        let mut value = value;
        // SAFETY: the code counts the references to the value; that to a string is a
        // pair of words itself.
        unsafe {
            while references > u32::from(ty == b's') {
                value = *value.cast::<*const u8>();
                references -= 1;
            }
            if ty == b's' {
                let (start, len) = *value.cast::<(*const u8, usize)>();
                return self.push_string(style, start, len, options);
            }
            self.begin(ty, style, options);
            // The most significant byte is the last one. One loop for all types keeps
            // this small.
            let mut rest = Kept(Rest { text: self, value, left: usize::from(bytes_of(ty)) });
            while rest.get().left > 0 {
                let Rest { text, value, left } = rest.get();
                rest.set(Rest { text, value, left: left - 1 });
                (*text).push_hex(u64::from(*value.add(left - 1)), 2);
            }
        }
    }

    /// Appends a string, as it is if `Display` with the default options would.
    unsafe fn push_string(&mut self, style: u8, start: *const u8, len: usize, options: &Options) {
        // SAFETY: the caller's string.
        unsafe {
            if style == b'D' && options.is_default() {
                return self.push(start, len);
            }
            self.begin(b's', style, options);
            self.push(start, len);
            self.push_str(END);
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}

/// Size of a type of [`SCALARS`].
fn bytes_of(ty: u8) -> u8 {
    let mut i = 0;
    while i < SCALARS.len() {
        if SCALARS[i].0 == ty {
            return SCALARS[i].1;
        }
        i += 1;
    }
    0
}

unsafe extern "C" {
    /// Type, trait and number of references of the formatting function at
    /// `formatter`: ASCII letters in bytes 0 and 1, the number above. `raddle-build`
    /// gives it a body that compares addresses.
    fn __raddle_format_code(formatter: *const u8) -> u32;
}

/// One `fmt::rt::Argument`: the value's address and the formatting function, or a
/// width or precision.
#[repr(C)]
#[derive(Clone, Copy)]
struct Argument {
    value: *const u8,
    formatter: *const u8,
}

impl Argument {
    /// The count of an argument that is a width or precision: the value's address is
    /// null then, and the count is in the first bytes after the tag.
    ///
    /// # Safety
    ///
    /// The argument is a count.
    unsafe fn count(&self) -> u16 {
        // SAFETY: `ArgumentType::Count` has its number where the formatter is not.
        unsafe { *(&raw const *self).cast::<u16>().add(4) }
    }
}

/// Writes the message of a `fmt::Arguments`, given as its two words, whose arguments
/// all have a code.
///
/// # Safety
///
/// The words are those of a valid `fmt::Arguments`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) unsafe extern "C" fn __raddle_rt_write_arguments(
    text: &mut Text,
    template: *const u8,
    args: *const u8,
) {
    // SAFETY: see each step; the template is valid by the caller's contract.
    unsafe {
        if args.addr() & 1 == 1 {
            text.push(template, args.addr() >> 1);
            return;
        }
        let args = args.cast::<Argument>();
        let mut walk = Kept(Walk { text, at: template, args, next: 0 });
        loop {
            let Walk { text, at, args, next } = walk.get();
            let byte = *at;
            let at = at.add(1);
            match byte {
                0 => return,
                1..=0x80 => {
                    let (at, len) = match byte {
                        0x80 => (at.add(2), usize::from(read_u16(at))),
                        _ => (at, usize::from(byte)),
                    };
                    walk.set(Walk { text, at: at.add(len), args, next });
                    (*text).push(at, len);
                }
                fields => {
                    let (options, at, index) = placeholder(fields, at, args, next);
                    walk.set(Walk { text, at, args, next: index + 1 });
                    let Argument { value, formatter } = *args.add(index);
                    let code = __raddle_format_code(formatter);
                    (*text).push_value(code, value, &options);
                }
            }
        }
    }
}

/// Reads the fields of a placeholder: its options, where the template goes on, and
/// which argument it shows.
unsafe fn placeholder(
    fields: u8,
    at: *const u8,
    args: *const Argument,
    next: usize,
) -> (Options, *const u8, usize) {
    let (mut options, mut at, mut index) = (Options::DEFAULT, at, next);
    // SAFETY: the template holds the fields whose bits are set, and arguments for
    // indirect ones.
    unsafe {
        if fields & 1 != 0 {
            options.flags = u32::from(read_u16(at)) | u32::from(read_u16(at.add(2))) << 16;
            at = at.add(4);
        }
        if fields & 2 != 0 {
            options.width = read_u16(at);
            at = at.add(2);
        }
        if fields & 4 != 0 {
            options.precision = read_u16(at);
            at = at.add(2);
        }
        if fields & 8 != 0 {
            index = usize::from(read_u16(at));
            at = at.add(2);
        }
        if fields & 16 != 0 {
            options.width = (*args.add(usize::from(options.width))).count();
        }
        if fields & 32 != 0 {
            options.precision = (*args.add(usize::from(options.precision))).count();
        }
    }
    (options, at, index)
}

unsafe fn read_u16(at: *const u8) -> u16 {
    // SAFETY: the template holds two bytes there.
    unsafe { u16::from_le_bytes([*at, *at.add(1)]) }
}

/// Writes a `&dyn Debug`, given as its two words, whose formatting function has a
/// code.
///
/// # Safety
///
/// The words are those of a valid `&dyn Debug`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) unsafe extern "C" fn __raddle_rt_write_debug(
    text: &mut Text,
    value: *const u8,
    vtable: *const *const u8,
) {
    // Drop, size and alignment come before the first method.
    const FIRST_METHOD: usize = 3;
    // SAFETY: the caller's contract.
    unsafe {
        let code = __raddle_format_code(*vtable.add(FIRST_METHOD));
        text.push_value(code, value, &Options::DEFAULT);
    }
}

/// [`__raddle_rt_write_arguments`] for arguments of any type.
///
/// # Safety
///
/// As there.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn __raddle_rt_write_arguments_full(
    text: &mut Text,
    template: *const u8,
    args: *const u8,
) {
    // SAFETY: these are the two words of an `Arguments`, in its order.
    let arguments: Arguments<'_> = unsafe { core::mem::transmute((template, args)) };
    let _ = text.write_fmt(arguments);
}

/// [`__raddle_rt_write_debug`] for values of any type.
///
/// # Safety
///
/// As there.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe extern "C" fn __raddle_rt_write_debug_full(
    text: &mut Text,
    value: *const u8,
    vtable: *const *const u8,
) {
    // SAFETY: these are the two words of a `&dyn Debug`, in its order.
    let value: &dyn Debug = unsafe { core::mem::transmute((value, vtable)) };
    let _ = write!(text, "{value:?}");
}

/// The options that a formatter has, as far as they can be asked for.
fn options_of(f: &Formatter<'_>) -> Options {
    let mut options = Options { flags: f.fill() as u32, width: 0, precision: 0 };
    options.flags |= match f.align() {
        Some(Alignment::Left) => Options::ALIGN_LEFT,
        Some(Alignment::Right) => Options::ALIGN_RIGHT,
        Some(Alignment::Center) => Options::ALIGN_CENTER,
        None => Options::ALIGN_UNKNOWN,
    };
    for (is_set, flag) in [
        (f.sign_plus(), Options::SIGN_PLUS),
        (f.sign_minus(), Options::SIGN_MINUS),
        (f.alternate(), Options::ALTERNATE),
        (f.sign_aware_zero_pad(), Options::ZERO_PAD),
    ] {
        options.flags |= if is_set { flag } else { 0 };
    }
    if let Some(width) = f.width() {
        options.flags |= Options::WIDTH;
        options.width = width as u16;
    }
    if let Some(precision) = f.precision() {
        options.flags |= Options::PRECISION;
        options.precision = precision as u16;
    }
    options
}

/// Writes a value through a formatter; what `raddle-build` puts in the place of
/// `core`'s formatting function of a primitive type calls this with its code.
///
/// # Safety
///
/// `value` points to a value of the code's type.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) unsafe fn __raddle_rt_fmt_value(
    f: &mut Formatter<'_>,
    code: u32,
    value: *const u8,
) -> fmt::Result {
    let mut piece = Piece::<64>::new();
    // SAFETY: the caller's contract.
    unsafe { piece.text.push_value(code, value, &options_of(f)) };
    f.write_str(piece.as_str())
}

/// Stands for `<str as Debug>::fmt`. Line feeds are set apart, since a pretty-printing
/// formatter would indent what follows them.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) fn __raddle_rt_fmt_str(text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    let options = options_of(f);
    begin_string(f, b'?', &options)?;
    let (bytes, mut start) = (text.as_bytes(), 0);
    for (at, &byte) in bytes.iter().enumerate() {
        if byte == b'\n' {
            // SAFETY: a line feed is a character of its own, so that the text may be
            // cut before and after it.
            f.write_str(unsafe { text.get_unchecked(start..at) })?;
            f.write_str(BREAK)?;
            start = at + 1;
        }
    }
    // SAFETY: as above.
    f.write_str(unsafe { text.get_unchecked(start..) })?;
    f.write_str(END)
}

/// Stands for `Formatter::pad`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) fn __raddle_rt_fmt_pad(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    let options = options_of(f);
    if options.flags & (Options::WIDTH | Options::PRECISION) == 0 {
        return f.write_str(text);
    }
    begin_string(f, b'D', &options)?;
    f.write_str(text)?;
    f.write_str(END)
}

fn begin_string(f: &mut Formatter<'_>, style: u8, options: &Options) -> fmt::Result {
    let mut piece = Piece::<24>::new();
    piece.text.begin(b's', style, options);
    f.write_str(piece.as_str())
}

/// Writes a text in the place of a value that cannot be formatted here.
///
/// # Safety
///
/// The words are those of a `&str`.
#[unsafe(no_mangle)]
#[inline(never)]
unsafe fn __raddle_rt_fmt_opaque(
    f: &mut Formatter<'_>,
    text: *const u8,
    len: usize,
) -> fmt::Result {
    // SAFETY: the caller's contract.
    f.write_str(unsafe { core::str::from_utf8_unchecked(core::slice::from_raw_parts(text, len)) })
}
