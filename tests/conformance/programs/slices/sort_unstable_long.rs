//! `sort_unstable` of 64 elements takes the quicksort path.
//! run: threads = 64

pub fn program(thread: u32) -> (bool, u32, u32, u64) {
    let mut values: [u32; 64] =
        core::array::from_fn(|i| (i as u32 + thread * 64).wrapping_mul(0x9e37_79b9) >> 16);
    values.sort_unstable();
    let hash = values.iter().fold(0u64, |h, &x| h.wrapping_mul(65_599).wrapping_add(u64::from(x)));
    (values.is_sorted(), values[0], values[63], hash)
}

// expect: 1,0,65003,0xa8f71be6d5eabe59 1,329,64470,0x5ba4256938177f9a
// expect: 1,658,65332,0xd043d09a9667a2e5 1,125,64799,0xadb8efa07599cbdb
// expect: 1,987,65128,0xc2126c51e387b15b 1,455,65458,0x5b57dcac3a846065
// expect: 1,784,64925,0xe9bba34ee559d926 1,251,64392,0x5f959216677bf459
// hash: 0x09f004c201c6092f of 64 answers
