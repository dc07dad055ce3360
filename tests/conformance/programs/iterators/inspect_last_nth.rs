//! `inspect`, `last`, `nth`, `nth_back` and `step`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, Option<u32>, Option<u32>, Option<u32>) {
    let mut seen = 0;
    let last = (0..thread % 12).inspect(|x| seen += x).filter(|x| x % 2 == 0).last();
    let mut range = 10..60;
    (seen, last, range.nth(thread as usize), range.nth_back(thread as usize / 4))
}

// expect: 0,0,0,1,10,1,59 0,1,0,1,11,1,59 1,1,0,1,12,1,59 3,1,2,1,13,1,59 6,1,2,1,14,1,58
// expect: 10,1,4,1,15,1,58 15,1,4,1,16,1,58 21,1,6,1,17,1,58
// hash: 0x5b7ff00a1fc433d8 of 64 answers
