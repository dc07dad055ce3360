//! `panic!` with floats and their precision, width and exponent.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    if thread == 21 {
        let (x, y) = (thread as f32 / 7.5, f64::from(thread) * -1e-9);
        panic!("{x} {x:?} {x:.2} {x:8.1}| {y} {y:e} {y:+.3E} {:?} {:?}", 1e16, 3.0f32); //~ PANIC
    }
    thread
}

// panic: thread 21: 2.8 2.8 2.80      2.8| -0.000000021000000000000003 -2.1000000000000003e-8 -2.100E-8 1e16 3.0
