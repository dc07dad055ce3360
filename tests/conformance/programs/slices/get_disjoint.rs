//! `get_disjoint_mut` borrows several elements at once.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, [u32; 5]) {
    let mut values = [1, 2, 3, 4, thread];
    let at = thread as usize % 6;
    let worked = match values.get_disjoint_mut([at, 4]) {
        Ok([a, b]) => {
            core::mem::swap(a, b);
            *a += 100;
            true
        }
        Err(_) => false,
    };
    (worked, values)
}

// expect: 1,100,2,3,4,1 1,1,101,3,4,2 1,1,2,102,4,3 1,1,2,3,103,4 0,1,2,3,4,4 0,1,2,3,4,5
// expect: 1,106,2,3,4,1 1,1,107,3,4,2
// hash: 0x11cf7125bb380a65 of 64 answers
