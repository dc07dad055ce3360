//! Chunks from the end, and chunks of fixed size by type.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32) {
    let values: [u32; 11] = core::array::from_fn(|i| thread % 13 + i as u32);
    let from_end = values.rchunks(4).fold(0, |h, c| h * 100 + c[0] * c.len() as u32);
    let (pairs, rest) = values.as_chunks::<2>();
    let crossed: u32 = pairs.iter().map(|[a, b]| a * b).sum();
    (from_end, crossed + rest[0])
}

// expect: 281200,150 321603,201 362006,262 402409,333 442812,414 483215,505 523618,606 564021,717
// hash: 0xd178ca27fea37c93 of 64 answers
