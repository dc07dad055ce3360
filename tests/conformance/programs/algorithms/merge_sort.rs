//! Bottom-up merge sort between two arrays, stable on equal keys.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, bool) {
    let mut from: [(u8, u8); 32] =
        core::array::from_fn(|i| ((i as u32 * 7 * (thread + 1) % 11) as u8, i as u8));
    let mut to = from;
    let mut width = 1;
    while width < 32 {
        for start in (0..32).step_by(2 * width) {
            let (middle, end) = (start + width, start + 2 * width);
            let (mut left, mut right) = (start, middle);
            for slot in &mut to[start..end] {
                if right == end || left < middle && from[left].0 <= from[right].0 {
                    *slot = from[left];
                    left += 1;
                } else {
                    *slot = from[right];
                    right += 1;
                }
            }
        }
        core::mem::swap(&mut from, &mut to);
        width *= 2;
    }
    let hash =
        from.iter().fold(0u32, |h, (k, i)| h.wrapping_mul(37) + u32::from(*k) * 32 + u32::from(*i));
    (hash, from.is_sorted())
}

// expect: 0x9a72c23c,1 0x1291bc98,1 0x163befb4,1 0x30e4945c,1 0x34d2e95c,1 0xa1095108,1
// expect: 0x4bbddf48,1 0xa36c9050,1
// hash: 0x62986562cbd56e5a of 64 answers
