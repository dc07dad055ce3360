//! A Bloom filter of 256 bits.
//! run: threads = 64

fn bits(key: u32) -> [u32; 3] {
    let h = key.wrapping_mul(0x85eb_ca6b) ^ key >> 7;
    [h >> 24, h >> 16 & 0xff, h >> 8 & 0xff]
}

pub fn program(thread: u32) -> (u32, bool, u32) {
    let mut filter = [0u64; 4];
    for key in (0..thread).step_by(3) {
        for bit in bits(key) {
            filter[bit as usize / 64] |= 1 << (bit % 64);
        }
    }
    let has = |key| bits(key).iter().all(|bit| filter[*bit as usize / 64] >> (bit % 64) & 1 == 1);
    let wrong = (1000..1100).filter(|key| has(*key)).count() as u32;
    (filter.iter().map(|w| w.count_ones()).sum(), thread == 0 || has(0), wrong)
}

// expect: 0,1,0 1,1,0 1,1,0 1,1,0 4,1,0 4,1,0 4,1,0 7,1,0
// hash: 0x5df4825d84a9242c of 64 answers
