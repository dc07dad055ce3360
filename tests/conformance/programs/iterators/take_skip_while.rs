//! `take_while`, `skip_while`, `map_while`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, usize) {
    let values = [1, 4, 6, 9, 3, 12, 2, 15];
    let limit = thread % 16;
    let before: u32 = values.iter().take_while(|x| **x < limit).sum();
    let after = values.iter().skip_while(|x| **x < limit).fold(0, |h, x| h * 3 + x);
    let mapped = values.iter().map_while(|x| limit.checked_sub(*x)).count();
    (before, after, mapped)
}

// expect: 0,7500,0 0,7500,1 1,5313,1 1,5313,1 1,5313,2 5,2397,2 5,2397,3 11,939,3
// hash: 0x87ebe94c7ae38525 of 64 answers
