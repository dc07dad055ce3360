//! Sizes and indices convert like 64-bit numbers.
//! run: threads = 64

pub fn program(thread: u32) -> (u64, i64, u32, Option<u8>) {
    let index = (thread as usize).wrapping_sub(5);
    (index as u64, index as isize as i64, index as u32, u8::try_from(index).ok())
}

// expect: 0xfffffffffffffffb,-5,0xfffffffb,0,0 0xfffffffffffffffc,-4,0xfffffffc,0,0
// expect: 0xfffffffffffffffd,-3,0xfffffffd,0,0 0xfffffffffffffffe,-2,0xfffffffe,0,0
// expect: 0xffffffffffffffff,-1,0xffffffff,0,0 0,0,0,1,0 1,1,1,1,1 2,2,2,1,2
// hash: 0x86abb230a1f9f71c of 64 answers
