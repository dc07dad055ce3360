//! The mixers of MurmurHash3 and its inverse.
//! run: threads = 64

fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

fn unmix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x7ed1_b41d);
    h ^= h >> 13 ^ h >> 26;
    h = h.wrapping_mul(0xa5cb_9243);
    h ^ h >> 16
}

pub fn program(thread: u32) -> (u32, u32) {
    (mix(thread), unmix(mix(thread)))
}

// expect: 0,0 0x514e28b7,1 0x30f4c306,2 0x85f0b427,3 0x249cb285,4 0xcc0d53cd,5 0x5ceb4d08,6
// expect: 0x18c9aec4,7
// hash: 0xac14f054719486be of 64 answers
