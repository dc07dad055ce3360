//! `as_ref`, `as_mut`, `copied`, `as_deref`, `ok_or`.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, bool) {
    let mut array = Some([thread, 2, 3]);
    if let Some(inner) = array.as_mut() {
        inner[1] += thread;
    }
    let sum = array.as_ref().map_or(0, |inner| inner.iter().sum());
    let third = array.as_ref().and_then(|inner| inner.get(thread as usize % 5)).copied();
    (sum, third.unwrap_or(100), third.ok_or(thread).is_err())
}

// expect: 5,0,0 7,3,0 9,3,0 11,100,1 13,100,1 15,5,0 17,8,0 19,3,0
// hash: 0x246c07bf7139c0fc of 64 answers
