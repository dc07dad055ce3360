//! Trial division counts primes below a bound.
//! run: threads = 64

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
}

pub fn program(thread: u32) -> (u32, u32) {
    let bound = thread * 10;
    let count = (0..bound).filter(|&n| is_prime(n)).count() as u32;
    let next = (bound..).find(|&n| is_prime(n)).unwrap_or(0);
    (count, next)
}

// expect: 0,2 4,11 8,23 10,31 12,41 15,53 17,61 19,71
// hash: 0x78a2fd2eadc5851b of 64 answers
