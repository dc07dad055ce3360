//! Run-length encoding and decoding into fixed buffers.
//! run: threads = 64

pub fn program(thread: u32) -> (usize, bool, u32) {
    let text: [u8; 32] = core::array::from_fn(|i| (thread >> (i / 5) & 1) as u8 + b'a');
    let mut packed = [(0u8, 0u8); 32];
    let mut len = 0;
    for &byte in &text {
        match packed[..len].last_mut() {
            Some((last, count)) if *last == byte => *count += 1,
            _ => {
                packed[len] = (byte, 1);
                len += 1;
            }
        }
    }
    let unpacked =
        packed[..len].iter().flat_map(|(b, n)| core::iter::repeat_n(*b, usize::from(*n)));
    let hash = packed[..len].iter().fold(0, |h, (_, n)| h * 6 % 7919 + u32::from(*n));
    (len, unpacked.eq(text), hash)
}

// expect: 1,1,32 2,1,57 3,1,232 2,1,82 3,1,407 4,1,1307 3,1,257 2,1,107
// hash: 0xb28a71c0281a76fe of 64 answers
