//! Random numbers that are the same on every machine: integer arithmetic, and
//! logarithm and cosine from a crate instead of the system's library.
//!
//! *Source*: Blackman and Vigna, "Scrambled linear pseudorandom number
//! generators" (xoshiro256**), Steele et al., "Fast splittable pseudorandom number
//! generators" (SplitMix64), Box and Muller (1958).

use std::f64::consts::TAU;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// The stream of a seed and a name. Streams of different names are independent,
    /// so a parameter's values do not depend on the parameters made before it.
    pub fn new(seed: u64, name: &str) -> Self {
        // FNV-1a of the name, mixed with the seed.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mut mix = SplitMix(seed ^ hash.rotate_left(32));
        Self { state: std::array::from_fn(|_| mix.next()) }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// A number of `[0, 1)` with 53 random bits.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Numbers of `[-bound, bound)`.
    pub fn uniform(mut self, bound: f64) -> impl Iterator<Item = f32> {
        std::iter::repeat_with(move || ((self.unit() * 2.0 - 1.0) * bound) as f32)
    }

    /// Numbers with the normal distribution around 0.
    pub fn normal(mut self, deviation: f64) -> impl Iterator<Item = f32> {
        let pairs = std::iter::repeat_with(move || {
            // `1 - unit` is in (0, 1], where the logarithm is finite.
            let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit())) * deviation;
            let (sin, cos) = libm::sincos(TAU * self.unit());
            [(radius * cos) as f32, (radius * sin) as f32]
        });
        pairs.flatten()
    }
}

/// The generator that seeds the other one.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_numbers() {
        let mut mix = SplitMix(1_234_567);
        assert_eq!(mix.next(), 6_457_827_717_110_365_317);
        assert_eq!(mix.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn distributions_have_their_moments() {
        let count = 200_000;
        let moments = |numbers: &mut dyn Iterator<Item = f32>| {
            let numbers: Vec<f64> = numbers.take(count).map(f64::from).collect();
            let mean = numbers.iter().sum::<f64>() / count as f64;
            let square = numbers.iter().map(|number| number * number).sum::<f64>() / count as f64;
            (mean, square)
        };
        // The mean of n numbers deviates by 1/sqrt(n) of a deviation.
        let tolerance = 5.0 / (count as f64).sqrt();
        let (mean, square) = moments(&mut Random::new(1, "a").normal(2.0));
        assert!(mean.abs() < 2.0 * tolerance && (square / 4.0 - 1.0).abs() < 2.0 * tolerance);
        let (mean, square) = moments(&mut Random::new(1, "a").uniform(3.0));
        assert!(mean.abs() < 3.0 * tolerance && (square / 3.0 - 1.0).abs() < 2.0 * tolerance);
    }

    #[test]
    fn names_and_seeds_have_streams_of_their_own() {
        let first = |seed, name| Random::new(seed, name).uniform(1.0).next();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
        assert_ne!(first(1, "a"), first(2, "a"));
    }
}
