//! `min_by`, `max_by_key`, and which of equal elements they choose.
//! run: threads = 64

pub fn program(thread: u32) -> (f32, u32, u32, usize) {
    let floats: [f32; 7] =
        core::array::from_fn(|i| ((thread as usize * 3 + i * 5) % 11) as f32 - 4.5);
    let least = floats.iter().copied().min_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0);
    let pairs: [(u32, u32); 6] = core::array::from_fn(|i| ((thread + i as u32) % 3, i as u32));
    let first = pairs.iter().min_by_key(|pair| pair.0).map_or(0, |pair| pair.1);
    let last = pairs.iter().max_by_key(|pair| pair.0).map_or(0, |pair| pair.1);
    let at =
        (0..7).max_by(|&i, &j| floats[i].partial_cmp(&floats[j]).expect("no NaN")).unwrap_or(9);
    (least, first, last, at)
}

// expect: 0.5,0,5,2 -1.5,2,4,1 0.5,1,3,3 -1.5,0,5,0 0.5,2,4,4 -0.5,1,3,1 0.5,0,5,5 -0.5,2,4,0
// hash: 0x5bfaf8246a1013e8 of 64 answers
