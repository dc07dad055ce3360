//! Const generics give arrays and loops their lengths.
//! run: threads = 64

struct Polynomial<const N: usize>([i64; N]);

impl<const N: usize> Polynomial<N> {
    const DEGREE: usize = N - 1;

    fn at(&self, x: i64) -> i64 {
        self.0.iter().rev().fold(0, |sum, c| sum * x + c)
    }
}

pub fn program(thread: u32) -> (i64, i64, u64) {
    let x = i64::from(thread) - 30;
    let line = Polynomial([3, 2]);
    let quartic = Polynomial([1, 0, -2, 0, 1]);
    (line.at(x), quartic.at(x), (Polynomial::<5>::DEGREE * 10 + Polynomial::<2>::DEGREE) as u64)
}

// expect: -57,808201,41 -55,705600,41 -53,613089,41 -51,529984,41 -49,455625,41 -47,389376,41
// expect: -45,330625,41 -43,278784,41
// hash: 0x32d1219a0560fca1 of 64 answers
