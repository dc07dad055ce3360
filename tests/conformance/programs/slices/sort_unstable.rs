//! `sort_unstable` of short arrays, which runs code of `core` itself.
//! run: threads = 64

pub fn program(thread: u32) -> [u32; 8] {
    let mut values: [u32; 8] = core::array::from_fn(|i| (thread + 1) * (i as u32 * 37 + 11) % 101);
    values.sort_unstable();
    values
}

// expect: 11,21,31,48,58,68,85,95 15,22,35,42,62,69,89,96 2,33,43,53,63,73,83,93
// expect: 23,30,37,44,70,77,84,91 4,21,37,38,54,55,71,88 4,5,25,45,65,66,85,86
// expect: 2,15,33,46,59,72,77,90 39,46,53,60,67,74,81,88
// hash: 0xbbe65a6c33c4f0b2 of 64 answers
