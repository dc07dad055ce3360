//! `position`, `rposition`, `find`, `find_map`, `any`, `all`.
//! run: threads = 64

pub fn program(thread: u32) -> (Option<usize>, Option<usize>, Option<u32>, bool, bool) {
    let values = [5u32, 12, 7, 12, 30, 41];
    (
        values.iter().position(|&x| x > thread),
        values.iter().rposition(|&x| x == thread || x == 12),
        values.iter().find_map(|x| x.checked_sub(thread).filter(|d| d % 2 == 0)),
        values.iter().any(|&x| x == thread),
        values.iter().all(|&x| x % 60 != thread),
    )
}

// expect: 1,0,1,3,1,12,0,1 1,0,1,3,1,4,0,1 1,0,1,3,1,10,0,1 1,0,1,3,1,2,0,1 1,0,1,3,1,8,0,1
// expect: 1,1,1,3,1,0,1,0 1,1,1,3,1,6,0,1 1,1,1,3,1,0,1,0
// hash: 0x20db4785a91a3598 of 64 answers
