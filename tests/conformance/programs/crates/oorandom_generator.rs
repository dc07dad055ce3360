//! The PCG generator of the `oorandom` crate.
//! run: threads = 64

pub fn program(thread: u32) -> (u32, u32, f32) {
    let mut random = oorandom::Rand32::new(u64::from(thread));
    let first = random.rand_u32();
    let sum = (0..10).map(|_| random.rand_range(0..100)).sum();
    (first, sum, random.rand_float())
}
