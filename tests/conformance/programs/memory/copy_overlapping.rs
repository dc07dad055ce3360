//! `ptr::copy` moves overlapping ranges, as `memmove` does.
//! run: threads = 64

pub fn program(thread: u32) -> ([u8; 4], u64) {
    let mut bytes: [u8; 32] = core::array::from_fn(|i| i as u8);
    let (from, to) = (thread as usize % 8, thread as usize / 8);
    // SAFETY: both ranges lie within the 32 bytes.
    unsafe {
        core::ptr::copy(bytes.as_ptr().add(from), bytes.as_mut_ptr().add(to), 24);
        core::ptr::write_bytes(bytes.as_mut_ptr().add(30), thread as u8, 2);
    }
    let hash = bytes.iter().fold(7u64, |h, &b| h.wrapping_mul(131).wrapping_add(u64::from(b)));
    ([bytes[0], bytes[to], bytes[to + 23], bytes[31]], hash)
}

// expect: 0,0,23,0,0xb29c512cb7f0e59e 1,1,24,1,0xb34d44ffe8a89e92 2,2,25,2,0xb3fe38d319605786
// expect: 3,3,26,3,0xb4af2ca64a18107a 4,4,27,4,0xb56020797acfc96e 5,5,28,5,0xb611144cab878262
// expect: 6,6,29,6,0xb6c2081fdc3f3b56 7,7,30,7,0xb772fbf30cf6f44a
// hash: 0x8edf8fb3f539605b of 64 answers
