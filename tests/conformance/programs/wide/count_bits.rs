//! Bit counts and reversals of 128-bit numbers.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32, u128) {
    let x = 1u128 << (2 * thread) | 0xf0 << thread;
    (x.leading_zeros(), x.trailing_zeros(), x.count_ones(), x.reverse_bits() ^ x.swap_bytes())
}

// expect: 120,0,5,0x7e00000000000000,0 119,2,5,0xc381000000000000,0 118,4,5,0xdbc3000000000000,0
// expect: 117,6,5,0xc3e7000000000000,0 116,8,4,0xff000000000000,0 115,9,4,0x66000000000000,0
// expect: 114,10,4,0,0 113,11,4,0x66000000000000,0
// hash: 0xac25b94e44623f4a of 64 answers
