//! `panic!` with slices, nested options and hexadecimal `Debug`.
//! run: threads = 64
//! panics

pub fn program(thread: u32) -> u32 {
    let values: [u16; 4] = core::array::from_fn(|i| (thread as u16).wrapping_pow(i as u32));
    if thread == 26 {
        let found: Option<Result<u8, &str>> = Some(Err("no"));
        panic!("{:?} {:x?} {:02X?} {found:?}", &values[1..], values, &values[..2]); //~ PANIC
    }
    thread
}

// panic: thread 26: [26, 676, 17576] [1, 1a, 2a4, 44a8] [01, 1A] Some(Err("no"))
