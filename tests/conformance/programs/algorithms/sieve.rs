//! The sieve of Eratosthenes in a bit array.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let mut composite = [0u32; 32];
    for p in 2..32 {
        if composite[p / 32] >> (p % 32) & 1 == 0 {
            for multiple in (p * p..1024).step_by(p) {
                composite[multiple / 32] |= 1 << (multiple % 32);
            }
        }
    }
    let is_prime = |n: usize| n > 1 && composite[n / 32] >> (n % 32) & 1 == 0;
    let start = thread as usize * 15;
    let next = (start..1024).find(|n| is_prime(*n)).unwrap_or(0);
    ((0..start).filter(|n| is_prime(*n)).count() as u32, next as u32)
}

// expect: 0,2 6,17 10,31 14,47 17,61 21,79 24,97 27,107
// hash: 0xf00eb9239e219c69 of 64 answers
