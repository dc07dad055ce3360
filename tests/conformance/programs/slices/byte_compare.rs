//! Comparing byte slices of run-time length, which compilers turn into `memcmp`.
//! run: threads = 64
//! input: u8 x 256

pub fn program(thread: u32, input: &[u8]) -> (bool, i8, bool) {
    let n = thread as usize;
    let mut copy = [0u8; 64];
    copy.copy_from_slice(&input[..64]);
    copy[40] = copy[40].wrapping_add(u8::from(thread > 40));
    (copy[..n] == input[..n], copy[..n].cmp(&input[..n]) as i8, copy[n..] == input[n..64])
}

// expect: 1,0,1 1,0,1 1,0,1 1,0,1 1,0,1 1,0,1 1,0,1 1,0,1
// hash: 0x3a49596ee6e92005 of 64 answers
