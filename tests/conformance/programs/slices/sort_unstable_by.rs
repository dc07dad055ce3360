//! `sort_unstable_by` on floats and `sort_unstable_by_key` on pairs.
//! run: threads = 64

pub fn program(thread: u32) -> ([f32; 4], [u32; 4]) {
    let mut floats: [f32; 24] =
        core::array::from_fn(|i| ((thread as usize + 3) * (i + 7) % 53) as f32 - 26.0);
    floats.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut pairs: [(u8, u32); 10] =
        core::array::from_fn(|i| (i as u8 * 7 % 10, thread * i as u32));
    pairs.sort_unstable_by_key(|pair| pair.0);
    (
        [floats[0], floats[1], floats[12], floats[23]],
        [pairs[0].1, pairs[1].1, pairs[5].1, pairs[9].1],
    )
}

// expect: 25.0,22.0,1.0,-25.0,0,0,0,0 26.0,25.0,2.0,-24.0,0,3,5,7 26.0,24.0,3.0,-24.0,0,6,10,14
// expect: 24.0,23.0,-5.0,-25.0,0,9,15,21 26.0,25.0,1.0,-24.0,0,12,20,28
// expect: 25.0,23.0,-4.0,-25.0,0,15,25,35 23.0,22.0,-4.0,-24.0,0,18,30,42
// expect: 25.0,22.0,-1.0,-25.0,0,21,35,49
// hash: 0xac7a00bd2a115e19 of 64 answers
