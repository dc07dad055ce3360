//! Fibonacci numbers by fast doubling in 128 bits.
//! run: threads = 64

fn pair(n: u32) -> (u128, u128) {
    if n == 0 {
        return (0, 1);
    }
    let (a, b) = pair(n / 2);
    let c = a * (2 * b - a);
    let d = a * a + b * b;
    if n % 2 == 0 { (c, d) } else { (d, c + d) }
}

pub fn program(thread: u32) -> u128 {
    pair(thread * 2 + 50).0
}

// expect: 0,0x2ee333961 0,0x7ac0ca1e3 0,0x1415f2ac48 0,0x3495cb62f5 0,0x89ab6f7c97 0,0x1686c8312d0
// expect: 0,0x3af9a19bbd9 0,0x9a661ca20bb
// hash: 0xe15a47c8da535b1c of 64 answers
