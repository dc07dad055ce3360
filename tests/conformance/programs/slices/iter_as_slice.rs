//! A slice iterator gives back what it has not yielded.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, usize) {
    let values: [u32; 10] = core::array::from_fn(|i| thread * i as u32 % 10);
    let mut iter = values.iter();
    iter.next();
    iter.next_back();
    let _ = iter.by_ref().find(|x| **x == 4);
    (iter.as_slice().iter().sum(), iter.as_slice().len())
}

// expect: 0,0 26,4 26,6 0,0 30,7 0,0 16,4 31,6
// hash: 0xcc8955c2c88ef567 of 64 answers
