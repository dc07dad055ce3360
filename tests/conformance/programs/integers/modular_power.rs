//! Modular exponentiation: Fermat's little theorem gives 1 for each base.
//! run: threads = 64

fn power(mut base: u64, mut exponent: u64, modulus: u64) -> u64 {
    let mut result = 1;
    base %= modulus;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % modulus;
        }
        base = base * base % modulus;
        exponent >>= 1;
    }
    result
}

pub fn program(thread: u32) -> (u64, u64, u64) {
    let prime = 1_000_000_007;
    let base = u64::from(thread) + 2;
    let inverse = power(base, prime - 2, prime);
    (power(base, prime - 1, prime), inverse, inverse * base % prime)
}

// expect: 1,0x1dcd6504,1 1,0x13de4358,1 1,0xee6b282,1 1,0x17d78403,1 1,0x9ef21ac,1 1,0x883d3b8,1
// expect: 1,0x7735941,1 1,0x69f6bc8,1
// hash: 0x40fbe20054746a9b of 64 answers
