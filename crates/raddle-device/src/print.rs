//! Printing from kernels: [`print!`](crate::print::print) and
//! [`println!`](crate::print::println), imported by name:
//!
//! ```ignore
//! use raddle::device::print::println;
//! println!("thread {} has {:.3}", thread_x(), value);
//! ```
//!
//! The format is a subset of Rust's: `{}`, `{:?}`, `{:x}`, `{:X}`, with `<`, `>`,
//! `+` (signed numbers), `0`, width, and `.N` for floats; arguments are integers
//! up to 64 bits, floats, `bool`, `char`, `&str` and raw pointers, given by
//! position. Anything else is a compile error.
//!
//! On a GPU the format is translated, while compiling, to that of the driver's
//! `vprintf`; the text appears when the host next synchronises, one call whole,
//! calls of different threads in any order, and the oldest are lost when the
//! driver's buffer (1 MiB) is full. Strings are cut after 127 bytes, floats below
//! 1e-20 or from 1e40 get an exponent, and with `.N` a NaN is `nan`; otherwise the
//! text is the same as on the CPU device.
//!
//! *Source*: CUDA C++ Programming Guide, "Formatted Output"; PTX ABI, `vprintf`.

// On the host the formatting is `core`'s; there only the tests use all of these.
#[cfg_attr(not(raddle_device), allow(dead_code))]
mod float;
#[cfg_attr(not(raddle_device), allow(dead_code))]
mod translate;
#[cfg_attr(not(raddle_device), allow(dead_code))]
mod value;

pub use crate::{__raddle_print as print, __raddle_println as println};
pub use translate::{Kind, Printable, check};
#[cfg(raddle_device)]
#[doc(hidden)]
pub use value::{Format, Value, Values, send};

/// Prints text from a kernel; see [`print`](mod@crate::print).
#[doc(hidden)]
#[cfg(raddle_device)]
#[macro_export]
macro_rules! __raddle_print {
    ($format:literal $(, $argument:expr)* $(,)?) => {{
        struct Text;
        impl $crate::print::Format for Text {
            const TEXT: &'static str = $format;
        }
        $crate::print::send::<Text, _>(($(&$argument,)*));
    }};
}

/// Prints text and a line feed from a kernel; see [`print`](mod@crate::print).
#[doc(hidden)]
#[cfg(raddle_device)]
#[macro_export]
macro_rules! __raddle_println {
    () => { $crate::__raddle_print!("\n") };
    ($format:literal $(, $argument:expr)* $(,)?) => {{
        struct Text;
        impl $crate::print::Format for Text {
            const TEXT: &'static str = concat!($format, "\n");
        }
        $crate::print::send::<Text, _>(($(&$argument,)*));
    }};
}

/// Prints text from a kernel; see [`print`](mod@crate::print).
#[doc(hidden)]
#[cfg(not(raddle_device))]
#[macro_export]
macro_rules! __raddle_print {
    ($format:literal $(, $argument:expr)* $(,)?) => {{
        const _: () = $crate::print::check($format);
        // Never called: it only demands that a GPU can print the types.
        let _ = || ($($crate::print::require(&$argument),)*);
        $crate::print::host(format_args!($format $(, $argument)*));
    }};
}

/// Prints text and a line feed from a kernel; see [`print`](mod@crate::print).
#[doc(hidden)]
#[cfg(not(raddle_device))]
#[macro_export]
macro_rules! __raddle_println {
    () => { $crate::__raddle_print!("\n") };
    ($format:literal $(, $argument:expr)* $(,)?) => {{
        const _: () = $crate::print::check($format);
        // Never called: it only demands that a GPU can print the types.
        let _ = || ($($crate::print::require(&$argument),)*);
        $crate::print::host(format_args!(concat!($format, "\n") $(, $argument)*));
    }};
}

/// Demands that a GPU can print the type.
#[cfg(not(raddle_device))]
#[doc(hidden)]
pub const fn require<T: Printable + ?Sized>(_: &T) {}

/// Prints through the engine.
#[cfg(not(raddle_device))]
#[doc(hidden)]
#[track_caller]
pub fn host(text: core::fmt::Arguments<'_>) {
    crate::host::engine().print(&std::fmt::format(text));
}

#[cfg(test)]
mod tests;
