//! Slices and arrays are compared element by element.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, bool, i8, bool) {
    let a = [1u8, 2, 3, thread as u8 % 6];
    let b = [1u8, 2, 3, 4];
    let wide = [thread; 20];
    let mut other = wide;
    other[19] += thread % 2;
    (a == b, a < b, a[..].cmp(&b[..3]) as i8, wide == other)
}

// expect: 0,1,1,1 0,1,1,0 0,1,1,1 0,1,1,0 1,0,1,1 0,0,1,0 0,1,1,1 0,1,1,0
// hash: 0x2b46ded32ebadde5 of 64 answers
