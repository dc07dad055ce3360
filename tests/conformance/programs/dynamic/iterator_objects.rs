//! `&mut dyn Iterator` hides which adapter runs.
//! run: threads = 64

fn total(values: &mut dyn Iterator<Item = u32>) -> u32 {
    values.fold(0, |sum, x| sum * 3 % 100_003 + x)
}

pub fn program(thread: u32) -> (u32, u32) {
    let mut even = (0..thread).filter(|x| x % 2 == 0);
    let mut squares = (1..6).map(|x| x * x + thread);
    let values: &mut dyn Iterator<Item = u32> =
        if thread % 3 == 0 { &mut even } else { &mut squares };
    let first = values.next().unwrap_or(999);
    (first, total(values))
}

// expect: 999,0 2,302 3,342 0,2 5,422 6,462 0,10 8,542
// hash: 0xff70df59ab2fde35 of 64 answers
