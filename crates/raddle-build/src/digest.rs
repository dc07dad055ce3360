//! Digests of files and texts, to see whether something changed.
//!
//! Build scripts are compiled without optimisation, so this takes eight bytes a
//! step. It tells apart what people edit; it is no defence against forgery, and
//! nothing relies on it for that.

use std::fmt;
use std::path::Path;

/// 128 bits that stand for some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u128);

/// A large odd factor without pattern (the prime of 128-bit FNV).
const FACTOR: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;

impl Digest {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut state = START;
        let mut mix = |word: u64| {
            state = (state.rotate_left(59) ^ u128::from(word)).wrapping_mul(FACTOR);
        };
        mix(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        mix(u64::from_le_bytes(last));
        // Two more steps bring the last words to all bits.
        mix(0);
        mix(0);
        Self(state)
    }

    /// Of several texts, in order; where one ends is part of it.
    pub fn of_all<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut all = Vec::new();
        for text in texts {
            all.extend_from_slice(&(text.len() as u64).to_le_bytes());
            all.extend_from_slice(text);
        }
        Self::of(&all)
    }

    /// Of a file's content; `None` if it cannot be read.
    pub fn of_file(path: &Path) -> Option<Self> {
        std::fs::read(path).ok().map(|bytes| Self::of(&bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_and_every_length_counts() {
        let mut seen = std::collections::HashSet::new();
        for len in 0..40 {
            let bytes = vec![0u8; len];
            assert!(seen.insert(Digest::of(&bytes).to_string()));
            for at in 0..len {
                for bit in 0..8 {
                    let mut changed = bytes.clone();
                    changed[at] ^= 1 << bit;
                    assert!(seen.insert(Digest::of(&changed).to_string()));
                }
            }
        }
        let split = |at: usize| Digest::of_all([&b"abcdef"[..at], &b"abcdef"[at..]]);
        assert_ne!(split(2), split(3));
    }
}
