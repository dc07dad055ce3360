//! A user's double-ended, exact-size iterator works with `rev` and `rposition`.
//! run: threads = 64

struct Window {
    low: u32,
    high: u32,
}

impl Iterator for Window {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        (self.low < self.high).then(|| {
            self.low += 1;
            (self.low - 1) * 3
        })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = (self.high - self.low) as usize;
        (len, Some(len))
    }
}

impl DoubleEndedIterator for Window {
    fn next_back(&mut self) -> Option<u32> {
        (self.low < self.high).then(|| {
            self.high -= 1;
            self.high * 3
        })
    }
}

impl ExactSizeIterator for Window {}

pub fn program(thread: u32) -> (u32, Option<usize>, usize) {
    let window = || Window { low: thread / 2, high: thread };
    let backwards = window().rev().fold(1u32, |hash, x| hash.wrapping_mul(7).wrapping_add(x));
    (backwards, window().rposition(|x| x % 5 == 0), window().len())
}

// expect: 1,0,0,0 7,1,0,1 10,0,0,1 94,0,0,2 118,0,0,2 1000,0,0,3 1171,1,2,3 9403,1,2,4
// hash: 0x3faa74a33245e387 of 64 answers
