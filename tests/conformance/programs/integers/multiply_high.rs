//! The upper half of products, by widening and by 32-bit pieces.
//! run: threads = 64

fn high_by_pieces(a: u64, b: u64) -> u64 {
    let (a1, a0) = (a >> 32, a & 0xffff_ffff);
    let (b1, b0) = (b >> 32, b & 0xffff_ffff);
    let low = a0 * b0;
    let middle = a1 * b0 + (low >> 32);
    let cross = a0 * b1 + (middle & 0xffff_ffff);
    a1 * b1 + (middle >> 32) + (cross >> 32)
}

pub fn program(thread: u32) -> (u64, u64, bool) {
    let a = u64::from(thread).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let b = a.rotate_left(23) ^ 0x5555_0000_ffff_aaaa;
    let wide = ((u128::from(a) * u128::from(b)) >> 64) as u64;
    let pieces = high_by_pieces(a, b);
    (wide, pieces, wide == pieces)
}

// expect: 0,0,1 0x553cb4fa331a6fcb,0x553cb4fa331a6fcb,1 0x37c04437831eefce,0x37c04437831eefce,1
// expect: 0xa6e8f57981b38234,0xa6e8f57981b38234,1 0x12bad0bc0a9332a1,0x12bad0bc0a9332a1,1
// expect: 0x26d61afadca01ec,0x26d61afadca01ec,1 0x55ce4576ce598cad,0x55ce4576ce598cad,1
// expect: 0x1e25a74354919c90,0x1e25a74354919c90,1
// hash: 0x59953e82c2fd34c5 of 64 answers
