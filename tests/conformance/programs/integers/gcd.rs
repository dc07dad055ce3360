//! Euclid's algorithm and the binary algorithm agree.
//! run: threads = 64

fn euclid(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { euclid(b, a % b) }
}

fn binary(mut a: u32, mut b: u32) -> u32 {
    if a == 0 || b == 0 {
        return a | b;
    }
    let shift = (a | b).trailing_zeros();
    a >>= a.trailing_zeros();
    while b != 0 {
        b >>= b.trailing_zeros();
        if a > b {
            core::mem::swap(&mut a, &mut b);
        }
        b -= a;
    }
    a << shift
}

pub fn program(thread: u32) -> (u32, u32) {
    let (a, b) = (thread * 360, 5040 - thread * 12);
    (euclid(a, b), binary(a, b))
}

// expect: 5040,5040 12,12 24,24 36,36 96,96 60,60 216,216 84,84
// hash: 0xebd789341dad7b4d of 64 answers
