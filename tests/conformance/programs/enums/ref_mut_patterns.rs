//! `ref mut` and default binding modes change values in place.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, u32) {
    let mut pair = (thread, Some(thread * 2));
    {
        let (ref mut left, right) = pair;
        *left += right.unwrap_or(0);
    }
    if let (_, Some(inner)) = &mut pair {
        *inner ^= 0xff;
    }
    let mut triple = [1, 2, thread];
    let [a, _, c] = &mut triple;
    core::mem::swap(a, c);
    (pair.0, pair.1.unwrap_or(0), triple[0] * 10 + triple[2])
}

// expect: 0,255,1 3,253,11 6,251,21 9,249,31 12,247,41 15,245,51 18,243,61 21,241,71
// hash: 0xdea53c4426733dad of 64 answers
