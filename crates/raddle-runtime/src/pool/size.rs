//! Which block serves a request of so many bytes.
//!
//! Small blocks, up to 1 MiB, come in 80 classes: multiples of 256 bytes up to
//! 2 KiB, then eight to each doubling, so that at most an eighth is waste. Large
//! ones are multiples of 64 KiB.

/// A request's size, rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// Blocks of one class are all alike.
    Small {
        /// From 0.
        class: usize,
        /// Bytes of a block.
        bytes: u64,
    },
    /// Blocks of any length.
    Large {
        /// Bytes of the block to make if there is none.
        bytes: u64,
    },
}

/// Classes of small blocks.
pub(crate) const CLASSES: usize = 80;
const STEP_BYTES: u64 = 256;
const SMALL_BYTES_MAX: u64 = 1 << 20;
const LARGE_STEP_BYTES: u64 = 64 << 10;

impl Size {
    /// The size that serves `bytes`, which is not zero.
    #[inline]
    pub(crate) fn of(bytes: u64) -> Self {
        if bytes > SMALL_BYTES_MAX {
            return Self::Large { bytes: bytes.next_multiple_of(LARGE_STEP_BYTES) };
        }
        // The three bits below the highest, and how high that is above 2 KiB.
        let last = bytes - 1;
        let doubling = u64::from((last | 2047).ilog2()) - 10;
        let step = if doubling == 0 { STEP_BYTES } else { STEP_BYTES << (doubling - 1) };
        let steps = last / step + 1;
        let class = if doubling == 0 { steps - 1 } else { 8 * doubling + steps - 9 };
        Self::Small { class: class as usize, bytes: steps * step }
    }

    /// Bytes of the blocks of a class.
    pub(crate) fn of_class(class: usize) -> u64 {
        let class = class as u64;
        match class / 8 {
            0 => (class + 1) * STEP_BYTES,
            doubling => (class % 8 + 9) * (STEP_BYTES << (doubling - 1)),
        }
    }

    /// Bytes of a block that is made for the request.
    #[inline]
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Small { bytes, .. } | Self::Large { bytes } => bytes,
        }
    }

    /// Whether a block of `bytes` serves the request without wasting more than an
    /// eighth.
    #[inline]
    pub(crate) fn suits(self, bytes: u64) -> bool {
        bytes >= self.bytes() && bytes - self.bytes() <= self.bytes() / 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_dense_ordered_and_waste_at_most_an_eighth() {
        let mut last = (0, 0);
        let mut sizes: Vec<u64> = (1..=8192).collect();
        sizes.extend((13..=20).flat_map(|exponent| {
            (0..64).flat_map(move |k| {
                let at = (1u64 << exponent) + k * (1 << (exponent - 6));
                [at - 1, at, at + 1]
            })
        }));
        sizes.retain(|&bytes| bytes <= SMALL_BYTES_MAX);
        sizes.sort_unstable();
        for bytes in sizes {
            let Size::Small { class, bytes: block } = Size::of(bytes) else { panic!("{bytes}") };
            assert!(block >= bytes && block.is_multiple_of(STEP_BYTES), "{bytes} -> {block}");
            assert!(block - bytes < STEP_BYTES.max(bytes / 8 + 1), "{bytes} -> {block}");
            if class != last.0 {
                assert_eq!(class, last.0 + 1, "{bytes}");
                assert!(bytes > last.1 && block > last.1, "{bytes}");
            }
            assert_eq!(Size::of_class(class), block);
            last = (class, block);
        }
        assert_eq!(last, (CLASSES - 1, SMALL_BYTES_MAX));
    }

    #[test]
    fn a_block_serves_itself_and_large_ones_are_rounded_little() {
        for bytes in [1, 256, 257, 5000, 1 << 20, (1 << 20) + 1, 64 << 20, (65 << 20) + 3] {
            let size = Size::of(bytes);
            assert_eq!(Size::of(size.bytes()), size);
            assert!(size.suits(size.bytes()) && !size.suits(size.bytes() - 256), "{bytes}");
            assert!(!size.suits(size.bytes() * 2));
        }
        assert_eq!(Size::of((1 << 20) + 1), Size::Large { bytes: (1 << 20) + (64 << 10) });
    }
}
