//! A user's iterator gets every adapter of the trait.
//! run: threads = 64

struct Fibonacci {
    state: (u64, u64),
}

impl Iterator for Fibonacci {
    type Item = u64;
    fn next(&mut self) -> Option<u64> {
        let (a, b) = self.state;
        self.state = (b, a + b);
        Some(a)
    }
}

pub fn program(thread: u32) -> (u64, u64, Option<u64>) {
    let fibonacci = || Fibonacci { state: (0, 1) };
    let even = fibonacci().take_while(|x| *x < u64::from(thread) * 1000).filter(|x| x % 2 == 0);
    let pairs = fibonacci().zip(fibonacci().skip(2)).map(|(a, b)| a * b).take(thread as usize % 12);
    (even.sum(), pairs.fold(0, u64::wrapping_add), fibonacci().nth(thread as usize))
}

// expect: 0,0,1,0 798,0,1,1 798,2,1,1 3382,5,1,2 3382,15,1,3 3382,39,1,5 3382,104,1,8
// expect: 3382,272,1,13
// hash: 0xaaac650a56fbb374 of 64 answers
