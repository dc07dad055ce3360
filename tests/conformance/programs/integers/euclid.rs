//! Euclidean and truncating division differ on negative numbers.
//! run: threads = 64

pub fn program(thread: u32) -> [i32; 8] {
    let a = thread as i32 * 5 - 160;
    let b = if thread % 2 == 0 { 7 } else { -7 };
    [
        a / b,
        a % b,
        a.div_euclid(b),
        a.rem_euclid(b),
        i32::from((a as i8).rem_euclid(3)),
        (i64::from(a) * 1_000_000_007).rem_euclid(1000) as i32,
        (thread + 3).div_ceil(4) as i32,
        (thread + 3).next_multiple_of(6) as i32,
    ]
}

// expect: -22,-6,-23,1,0,880,1,6 22,-1,23,6,2,915,1,6 -21,-3,-22,4,1,950,2,6 20,-5,21,2,0,985,2,6
// expect: -20,0,-20,0,2,20,2,12 19,-2,20,5,1,55,2,12 -18,-4,-19,3,0,90,3,12 17,-6,18,1,1,125,3,12
// hash: 0x31cde2c7049ba0b4 of 64 answers
