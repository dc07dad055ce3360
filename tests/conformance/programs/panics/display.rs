//! `panic!` with the `Display` of a type of its own.
//! run: threads = 64
//! panics

use core::fmt;

struct Degrees(f32);

impl fmt::Display for Degrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(precision) = f.precision() {
            return write!(f, "{:.precision$} deg", self.0);
        }
        write!(f, "{} deg", self.0)
    }
}

struct List<'a>(&'a [u32]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            fmt::Display::fmt(item, f)?;
        }
        Ok(())
    }
}

pub fn program(thread: u32) -> u32 {
    if thread == 24 {
        let list = [thread, thread + 1, thread * 100];
        let (warm, cold, tail) = (Degrees(12.25), Degrees(-0.5), List(&list[1..]));
        panic!("{warm} or {cold:.3}: {} {tail:04}", List(&list)); //~ PANIC
    }
    thread
}

// panic: thread 24: 12.25 deg or -0.500 deg: 24, 25, 2400 0025, 2400
