//! `Deref`, `DerefMut` and `Borrow` reach the inner value.
//! run: threads = 64

use core::ops::{Deref, DerefMut};

struct Counted<T> {
    inner: T,
    writes: u32,
}

impl<T> Deref for Counted<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for Counted<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.writes += 1;
        &mut self.inner
    }
}

pub fn program(thread: u32) -> (u32, u32, usize) {
    let mut values = Counted { inner: [thread, 2, 3], writes: 0 };
    values[1] = thread * 3;
    values.swap(0, 1);
    if thread % 2 == 0 {
        *values = [9, 9, thread];
    }
    (values.iter().sum(), values.writes, values.len())
}

// expect: 18,3,3 7,2,3 20,3,3 15,2,3 22,3,3 23,2,3 24,3,3 31,2,3
// hash: 0x4e94784b5b8fdbe5 of 64 answers
