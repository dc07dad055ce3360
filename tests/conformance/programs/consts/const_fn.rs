//! `const fn` runs at compile time and at run time with one result.
//! run: threads = 64

const fn power(base: u64, exponent: u32) -> u64 {
    match exponent {
        0 => 1,
        e if e % 2 == 0 => power(base.wrapping_mul(base), e / 2),
        e => base.wrapping_mul(power(base, e - 1)),
    }
}

const AT_COMPILE_TIME: [u64; 4] = [power(3, 0), power(3, 10), power(7, 22), power(10, 19)];

pub fn program(thread: u32) -> (u64, bool) {
    let exponents = [0, 10, 22, 19];
    let bases = [3, 3, 7, 10];
    let at = thread as usize % 4;
    let at_run_time = power(bases[at] + u64::from(thread / 4), exponents[at]);
    (at_run_time, power(bases[at], exponents[at]) == AT_COMPILE_TIME[at])
}

// expect: 1,1 59049,1 0x3642798750226111,1 0x8ac7230489e80000,1 1,1 1048576,1 0,1
// expect: 0x50c0bcba63bc1973,1
// hash: 0xfb8364e4d779aae7 of 64 answers
