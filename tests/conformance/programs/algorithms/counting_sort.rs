//! Counting sort by prefix sums.
//! run: threads = 64
//! input: u8 x 128

pub fn program(thread: u32, input: &[u8]) -> (u32, bool) {
    let values = &input[thread as usize..][..48];
    let mut starts = [0u8; 17];
    for value in values {
        starts[usize::from(value >> 4) + 1] += 1;
    }
    for i in 0..16 {
        starts[i + 1] += starts[i];
    }
    let mut sorted = [0u8; 48];
    for value in values {
        let start = &mut starts[usize::from(value >> 4)];
        sorted[usize::from(*start)] = *value;
        *start += 1;
    }
    let hash = sorted.iter().fold(0u32, |h, v| h.wrapping_mul(131) + u32::from(*v));
    (hash, sorted.is_sorted_by_key(|v| v >> 4))
}

// expect: 0xb07ed632,1 0xcf6c5282,1 0xafdc6354,1 0x872e4380,1 0x64a5f0d0,1 0xe91f7efe,1
// expect: 0xc46439b3,1 0xc629a4aa,1
// hash: 0x9d83a134fdc9a90e of 64 answers
