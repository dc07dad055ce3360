//! Minimum, maximum, clamp and midpoints at several widths.
//! run: threads = 64

pub fn program(thread: u32) -> (i32, i32, u8, i64, u32, i32) {
    let t = thread as i32 * 7 % 40 - 20;
    (
        t.min(3),
        t.max(-4),
        (thread as u8).clamp(10, 50),
        i64::from(t).clamp(-5, 5),
        thread.midpoint(u32::MAX),
        t.pow(2).min(100).max(t),
    )
}

// expect: -20,-4,10,-5,0x7fffffff,100 -13,-4,10,-5,0x80000000,100 -6,-4,10,-5,0x80000000,36
// expect: 1,1,10,1,0x80000001,1 3,8,10,5,0x80000001,64 3,15,10,5,0x80000002,100
// expect: -18,-4,10,-5,0x80000002,100 -11,-4,10,-5,0x80000003,100
// hash: 0xc6c01a11e7f27941 of 64 answers
