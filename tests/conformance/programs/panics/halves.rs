//! `panic!` with a half-precision float and an `f32` through generic code.
//! run: threads = 64
//! panics

use raddle::device::f16;

fn reject<T: core::fmt::Display + core::fmt::Debug>(value: T) -> ! {
    panic!("unfit: {value} ({value:?})") //~ PANIC
}

pub fn program(thread: u32) -> u32 {
    if thread == 27 {
        reject(f16::from_f32(0.1));
    }
    if thread == 65 {
        reject(thread as f32);
    }
    thread
}

// panic: thread 27: unfit: 0.099975586 (0.099975586)
