//! `map`, `filter` and `sum` over a range.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u64) {
    let sum = (0..thread).filter(|x| x % 3 != 1).map(|x| x * x).sum();
    let product = (1..=u64::from(thread)).filter(|x| x % 5 == 0).product();
    (sum, product)
}

// expect: 0,1 0,1 0,1 4,1 13,1 13,5 38,5 74,5
// hash: 0x4e1bc8bdaf0ebeac of 64 answers
