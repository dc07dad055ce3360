//! How much memory the arrays of one file may take together.

use crate::{Error, Place, Result};

/// Bytes that the arrays of one file may take, so that a small hostile file
/// cannot ask for all memory: through a compressed entry, an expanded view or a
/// storage that is shared a million times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    bytes_max: u64,
    used: u64,
}

/// Every array counts as at least this much, for its name and shape.
const ARRAY_BYTES_MIN: u64 = 64;

impl Budget {
    /// What is right for a file of this size: a small file may expand to 256 MiB,
    /// a large one to eight times its size.
    pub fn for_file(bytes: usize) -> Self {
        Self::of((bytes as u64).saturating_mul(8).max(256 << 20))
    }

    /// Exactly this many bytes.
    pub fn of(bytes_max: u64) -> Self {
        Self { bytes_max, used: 0 }
    }

    /// Takes what an array needs, before memory is asked for.
    pub(crate) fn take(&mut self, bytes: Option<usize>, place: &Place) -> Result<usize> {
        let too_large = || Error::TooLarge { place: place.clone(), bytes_max: self.bytes_max };
        let bytes = bytes.ok_or_else(too_large)?;
        let used = self.used.saturating_add((bytes as u64).max(ARRAY_BYTES_MIN));
        if used > self.bytes_max {
            return Err(too_large());
        }
        self.used = used;
        Ok(bytes)
    }
}
