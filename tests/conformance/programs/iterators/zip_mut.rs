//! Two slices change each other through `iter_mut`.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 6] {
    let mut a = [thread, thread * 2, 3];
    let mut b = [10, 20, 30];
    for (x, y) in a.iter_mut().zip(b.iter_mut().rev()) {
        *x += *y;
        *y = *x % 7;
    }
    [a[0], a[1], a[2], b[0], b[1], b[2]]
}

// expect: 30,20,13,6,6,2 31,22,13,6,1,3 32,24,13,6,3,4 33,26,13,6,5,5 34,28,13,6,0,6
// expect: 35,30,13,6,2,0 36,32,13,6,4,1 37,34,13,6,6,2
// hash: 0xb7b6105e3beb7801 of 64 answers
