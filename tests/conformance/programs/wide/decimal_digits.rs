//! Decimal digits of a 128-bit number, by repeated division.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u64) {
    let mut x = u128::MAX >> thread;
    let (mut digits, mut sum, mut hash) = (0, 0, 0u64);
    while x > 0 {
        let digit = (x % 10) as u32;
        x /= 10;
        digits += 1;
        sum += digit;
        hash = hash.wrapping_mul(11).wrapping_add(u64::from(digit));
    }
    (digits, sum, hash)
}

// expect: 39,165,0x56e0603d26d03727 39,154,0xa1ffe5d11e62c8ae 38,171,0x362af24733102e3b
// expect: 38,166,0xc908d465279a99cc 38,177,0x5529f15159001da9 38,169,0xdc94f9602c5f07f9
// expect: 37,147,0x96e524e7c7f652b 37,172,0x1a741ed1e74d13fa
// hash: 0x562b3cbc482a51ac of 64 answers
