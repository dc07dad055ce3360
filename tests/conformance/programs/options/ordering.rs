//! Options and results are ordered, `None` first.
//! run: threads = 64

pub fn program(thread: u32) -> (i8, i8, bool, Option<u32>) {
    let a = thread.checked_sub(20);
    let b = 40u32.checked_sub(thread);
    let c: Result<u32, u32> = a.ok_or(thread);
    (a.cmp(&b) as i8, c.cmp(&Ok(3)) as i8, a < Some(5), a.max(b))
}

// expect: -1,1,1,1,40 -1,1,1,1,39 -1,1,1,1,38 -1,1,1,1,37 -1,1,1,1,36 -1,1,1,1,35 -1,1,1,1,34
// expect: -1,1,1,1,33
// hash: 0x5e4691f44147807f of 64 answers
