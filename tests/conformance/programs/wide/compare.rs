//! Comparisons of 128-bit numbers look at both halves.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, bool, bool, i8) {
    let a = u128::from(thread) << 64 | 5;
    let b = 30u128 << 64 | u128::from(thread);
    let c = -(i128::from(thread) << 70) + 1;
    let d = -(20i128 << 70);
    (a < b, a == b, c <= d, c.cmp(&d) as i8)
}

// expect: 1,0,0,1 1,0,0,1 1,0,0,1 1,0,0,1 1,0,0,1 1,0,0,1 1,0,0,1 1,0,0,1
// hash: 0xc591fb223069e42c of 64 answers
