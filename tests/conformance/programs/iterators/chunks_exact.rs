//! `chunks_exact` and its remainder.
//! run: threads = 64
//! input: u32 x 100

pub fn program(thread: u32, input: &[u32]) -> (u32, u32, usize) {
    let values = &input[..thread as usize + 1];
    let chunks = values.chunks_exact(7);
    let rest = chunks.remainder().iter().fold(0, |sum, x| sum ^ x);
    let sum = chunks.map(|c| c[0].wrapping_mul(c[6])).fold(0, u32::wrapping_add);
    (sum, rest, values.chunks(7).len())
}

// expect: 0,0x7b1dcdaf,1 0,0xdaa4a85b,1 0,0x5aaded14,1 0,0x28e16cf8,1 0,0x79491863,1 0,0xd37ba89,1
// expect: 0xa888f4cf,0,1 0xa888f4cf,0xc916ab3c,2
// hash: 0xd29e70cd7bca735b of 64 answers
