//! Generic functions over `[T; N]` for several lengths.
//! run: threads = 64

fn rotate<T: Copy, const N: usize>(values: [T; N], by: usize) -> [T; N] {
    core::array::from_fn(|i| values[(i + by) % N])
}

fn checksum<T: Into<u64> + Copy, const N: usize>(values: &[T; N]) -> u64 {
    values.iter().enumerate().map(|(i, &v)| v.into() * (i as u64 + 1)).sum()
}

pub fn program(thread: u32) -> (u64, u64, u64) {
    let by = thread as usize;
    (
        checksum(&rotate([1u8, 2, 3, 4, 5], by)),
        checksum(&rotate([thread, 1000, 2000], by)),
        checksum(&rotate([u64::from(thread)], by)),
    )
}

// expect: 55,8000,0 45,5003,1 40,5004,2 40,8003,3 45,5012,4 55,5010,5 45,8006,6 40,5021,7
// hash: 0xeac96e6997834082 of 64 answers
