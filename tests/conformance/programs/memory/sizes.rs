//! Sizes and alignments are those of the host.
//! run: threads = 64

pub fn program(thread: u32) -> (usize, usize, usize, u64) {
    let sizes = [
        size_of::<(u8, u32, u8)>(),
        size_of::<Option<&u8>>(),
        size_of::<&[u8]>(),
        size_of::<u128>() + align_of::<u128>(),
        size_of::<[u16; 7]>(),
        size_of::<Result<u32, ()>>(),
        size_of::<usize>(),
        size_of::<fn()>(),
    ];
    let value = [(thread as u8, u64::from(thread)); 2];
    (sizes[thread as usize % 8], size_of_val(&value), align_of_val(&value), value[1].1)
}

// expect: 8,32,8,0 8,32,8,1 16,32,8,2 32,32,8,3 14,32,8,4 8,32,8,5 8,32,8,6 8,32,8,7
// hash: 0xae71ed850ceb3b25 of 64 answers
