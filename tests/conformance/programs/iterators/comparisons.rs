//! Iterators are compared lexicographically.
//! run: threads = 64

use core::cmp::Ordering;

pub fn program(thread: u32) -> (i8, bool, bool, bool, bool) {
    let a = [1, thread % 4, 3];
    let b = [1, 2, thread % 5];
    let order = a.iter().cmp(b.iter());
    let floats = a.iter().map(|x| *x as f32).partial_cmp(b.iter().map(|x| *x as f32));
    (
        order as i8,
        a.iter().eq(&b),
        a.iter().lt(b[..2].iter()),
        floats == Some(Ordering::Greater),
        a.iter().is_sorted(),
    )
}

// expect: -1,0,1,0,0 -1,0,1,0,1 1,0,0,1,1 1,0,0,1,1 -1,0,1,0,0 -1,0,1,0,1 1,0,0,1,1 1,0,0,1,1
// hash: 0x38c44ad713d6046c of 64 answers
