//! `assert_eq!` of floats, which are shown in the fewest digits that tell them apart.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> f32 {
    let third = thread as f32 / 3.0;
    let again = if thread == 7 { f32::NAN } else { third };
    assert_eq!(third, again); //~ PANIC
    third
}

// panic: thread 7: assertion `left == right` failed\n  left: 2.3333333\n right: NaN
