//! The largest sum of neighbours, by a fold.
//! run: threads = 64
//! input: i8 x 128

pub fn program(thread: u32, input: &[i8]) -> (i32, i32) {
    let values = &input[thread as usize..][..48];
    let (best, _) = values.iter().fold((i32::MIN, 0), |(best, here), &x| {
        let here = (here + i32::from(x)).max(i32::from(x));
        (best.max(here), here)
    });
    let prefix = values.iter().scan(0, |sum, &x| {
        *sum += i32::from(x);
        Some(*sum)
    });
    (best, prefix.min().unwrap_or(0))
}

// expect: 739,-280 739,-199 739,-187 739,-266 739,-246 739,-145 739,-123 739,-92
// hash: 0x272cbef1fbc1df8b of 64 answers
