//! `size_hint`, `len` and `count` agree.
//! run: threads = 64

pub fn program(thread: u32) -> (usize, usize, usize, Option<usize>) {
    let range = 3..3 + thread;
    let stepped = range.clone().step_by(4);
    let hint = stepped.size_hint();
    (hint.0, stepped.len(), range.clone().skip(5).count(), range.filter(|x| *x > 9).size_hint().1)
}

// expect: 0,0,0,1,0 1,1,0,1,1 1,1,0,1,2 1,1,0,1,3 1,1,0,1,4 2,2,0,1,5 2,2,1,1,6 2,2,2,1,7
// hash: 0x500ca78e89aa05de of 64 answers
