//! Factorials in base 10^9 with arrays as big integers.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut digits = [0u32; 12];
    digits[0] = 1;
    for factor in 2..=thread {
        let mut carry = 0;
        for digit in &mut digits {
            let product = u64::from(*digit) * u64::from(factor) + carry;
            *digit = (product % 1_000_000_000) as u32;
            carry = product / 1_000_000_000;
        }
    }
    let top = digits.iter().rposition(|d| *d > 0).unwrap_or(0);
    (digits[top], top as u32, digits.iter().fold(0, |h, d| (h ^ d).rotate_left(3)))
}

// expect: 1,0,16 1,0,16 2,0,32 6,0,96 24,0,384 120,0,1920 720,0,11520 5040,0,80640
// hash: 0x9321809d11fc78ba of 64 answers
