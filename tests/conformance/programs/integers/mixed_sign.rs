//! Mixed-sign helpers: adding signed to unsigned and casting with a check.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, Option<u32>, Option<u8>, u32) {
    let delta = thread as i32 - 40;
    (
        100u32.wrapping_add_signed(delta),
        10u32.checked_add_signed(delta),
        u8::try_from(thread as i32 * 5 - 20).ok(),
        20u32.saturating_add_signed(delta),
    )
}

// expect: 60,0,0,0,0,0 61,0,0,0,0,0 62,0,0,0,0,0 63,0,0,0,0,0 64,0,0,1,0,0 65,0,0,1,5,0
// expect: 66,0,0,1,10,0 67,0,0,1,15,0
// hash: 0xc5ca2d72a7e81ea4 of 64 answers
