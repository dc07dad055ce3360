//! Raw pointers walk a slice.
//! run: threads = 64
//! input: u32 x 128

pub fn program(thread: u32, input: &[u32]) -> (u32, isize) {
    let n = thread as usize;
    let start = input.as_ptr();
    // SAFETY: `n` and `n + 64` lie within the 128 elements.
    let (mut at, end) = unsafe { (start.add(n), start.add(n + 64)) };
    let mut sum = 0u32;
    while at < end {
        // SAFETY: `at` is below `end`, within the slice.
        unsafe {
            sum = sum.wrapping_add(*at);
            at = at.add(4);
        }
    }
    // SAFETY: both point into the slice, or one past its end.
    (sum, unsafe { at.offset_from(start) })
}

// expect: 0x64d5f05c,64 0x870c0f55,65 0xdbf10fd2,66 0x63aa447,67 0x5622f7bb,68 0x23999aa4,69
// expect: 0xf58cc6f5,70 0x1e79d4b4,71
// hash: 0x01a7b8517d467f8a of 64 answers
