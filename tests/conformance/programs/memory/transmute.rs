//! Transmutes between types of one size.
//! run: threads = 64

pub fn program(thread: u32) -> (u64, u64, [u16; 2]) {
    let pair = [thread, thread + 1];
    // SAFETY: both are 8 bytes and any bits are valid.
    let word: u64 = unsafe { core::mem::transmute(pair) };
    // SAFETY: both are 8 bytes and any bits are valid.
    let bits: u64 = unsafe { core::mem::transmute([thread as f32, 1.0]) };
    // SAFETY: as above.
    let halves: [u16; 2] = unsafe { core::mem::transmute(thread * 0x1_0003) };
    (word, bits, halves)
}

// expect: 0x100000000,0x3f80000000000000,0,0 0x200000001,0x3f8000003f800000,3,1
// expect: 0x300000002,0x3f80000040000000,6,2 0x400000003,0x3f80000040400000,9,3
// expect: 0x500000004,0x3f80000040800000,12,4 0x600000005,0x3f80000040a00000,15,5
// expect: 0x700000006,0x3f80000040c00000,18,6 0x800000007,0x3f80000040e00000,21,7
// hash: 0x0003364e029b63dc of 64 answers
