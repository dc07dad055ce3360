//! Factorials up to 33! need 128 bits.
//! run: threads = 64

pub fn program(thread: u32) -> (u128, u32) {
    let n = thread % 34;
    let factorial = (1..=u128::from(n)).product::<u128>();
    (factorial, factorial.trailing_zeros())
}

// expect: 0,1,0 0,1,0 0,2,1 0,6,1 0,24,3 0,120,3 0,720,4 0,5040,4
// hash: 0x79fdc9989a1b0779 of 64 answers
