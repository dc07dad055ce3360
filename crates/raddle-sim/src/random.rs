//! The random numbers of seeded schedules: small, fast, the same everywhere.

/// A stream of numbers that depends on a seed and a cluster only.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The stream of cluster `cluster` under `seed`.
    pub fn new(seed: u64, cluster: u64) -> Self {
        Self { state: mix(seed ^ mix(cluster.wrapping_add(GOLDEN))) }
    }

    /// A number below `bound`, which is small: the bias is about `bound / 2^32`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(GOLDEN);
        (((mix(self.state) >> 32) * bound as u64) >> 32) as usize
    }
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// 2^64 divided by the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
