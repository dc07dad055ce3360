//! `take`, `replace`, `insert`, `get_or_insert_with`.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<u32>, Option<u32>, u32, u32) {
    let mut slot = (thread % 2 == 0).then_some(thread);
    let taken = slot.take();
    let old = slot.replace(thread + 1);
    let value = *slot.get_or_insert_with(|| 77);
    let mut empty: Option<u32> = old;
    *empty.insert(5) += thread;
    (taken, slot.take_if(|x| *x > 40), value, empty.unwrap_or(0))
}

// expect: 1,0,0,0,1,5 0,0,0,0,2,6 1,2,0,0,3,7 0,0,0,0,4,8 1,4,0,0,5,9 0,0,0,0,6,10 1,6,0,0,7,11
// expect: 0,0,0,0,8,12
// hash: 0x7f24db5117cf4c8d of 64 answers
