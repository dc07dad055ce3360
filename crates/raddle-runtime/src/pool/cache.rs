//! Blocks that were freed on one stream and can be had there again at once.
//!
//! A cache belongs to a queue and lies under the queue's lock. Everything in it
//! was last used by work that the queue already holds, so work that is enqueued
//! there later comes after it: taking such a block needs no wait, no driver call
//! and no other lock.

use super::size::{CLASSES, Size};

/// A block's place and length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
}

/// The free blocks of one queue.
#[derive(Default)]
pub(crate) struct Cache {
    /// By class; empty until the first block comes.
    small: Vec<Vec<u64>>,
    /// In the order in which they came.
    large: Vec<Block>,
    bytes: u64,
    /// Requests that were served from here.
    hits: u64,
}

/// Blocks of one class, at most; and their bytes.
const CLASS_LEN_MAX: usize = 64;
const CLASS_BYTES_MAX: u64 = 2 << 20;
/// Large blocks, at most.
const LARGE_LEN_MAX: usize = 8;

impl Cache {
    /// A block for the request, the one that came last among those that suit.
    #[inline]
    pub(crate) fn take(&mut self, size: Size) -> Option<Block> {
        let block = match size {
            Size::Small { class, bytes } => {
                let address = self.small.get_mut(class)?.pop()?;
                Block { address, bytes }
            }
            Size::Large { .. } => {
                let at = self.large.iter().rposition(|block| size.suits(block.bytes))?;
                self.large.remove(at)
            }
        };
        self.bytes -= block.bytes;
        self.hits += 1;
        Some(block)
    }

    /// Keeps a block. `Err` gives one back that there is no room for.
    #[inline]
    pub(crate) fn put(&mut self, block: Block) -> Result<(), Block> {
        self.bytes += block.bytes;
        match Size::of(block.bytes) {
            Size::Small { class, .. } => {
                if self.small.is_empty() {
                    self.small.resize_with(CLASSES, Vec::new);
                }
                let blocks = &mut self.small[class];
                let is_full = blocks.len() >= CLASS_LEN_MAX
                    || (blocks.len() as u64 + 1) * block.bytes > CLASS_BYTES_MAX;
                if is_full {
                    self.bytes -= block.bytes;
                    return Err(block);
                }
                blocks.push(block.address);
            }
            Size::Large { .. } => {
                self.large.push(block);
                if self.large.len() > LARGE_LEN_MAX {
                    let oldest = self.large.remove(0);
                    self.bytes -= oldest.bytes;
                    return Err(oldest);
                }
            }
        }
        Ok(())
    }

    /// Empties the cache.
    pub(crate) fn drain(&mut self) -> Vec<Block> {
        self.bytes = 0;
        let mut blocks = std::mem::take(&mut self.large);
        for (class, addresses) in self.small.iter_mut().enumerate() {
            let bytes = Size::of_class(class);
            blocks.extend(addresses.drain(..).map(|address| Block { address, bytes }));
        }
        blocks
    }

    /// Bytes of all blocks.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Requests that were served from here so far.
    pub(crate) fn hits(&self) -> u64 {
        self.hits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_that_came_last_goes_first_and_none_is_lost() {
        let mut cache = Cache::default();
        let mut kept = 0;
        for index in 0..100u64 {
            let block = Block { address: 4096 * index, bytes: 1024 };
            kept += u64::from(cache.put(block).is_ok());
        }
        assert_eq!((kept, cache.bytes()), (64, 64 * 1024));
        let size = Size::of(1000);
        assert_eq!(cache.take(size), Some(Block { address: 4096 * 63, bytes: 1024 }));
        assert_eq!(cache.take(Size::of(1025)), None);
        assert_eq!(cache.drain().len(), 63);
        assert_eq!((cache.bytes(), cache.hits(), cache.take(size)), (0, 1, None));
    }

    #[test]
    fn large_blocks_serve_what_is_an_eighth_smaller_and_the_oldest_leaves() {
        let mut cache = Cache::default();
        for index in 1..=8 {
            let block = Block { address: index << 32, bytes: index * (8 << 20) };
            assert_eq!(cache.put(block), Ok(()));
        }
        let ninth = Block { address: 9 << 32, bytes: 64 << 20 };
        assert_eq!(cache.put(ninth), Err(Block { address: 1 << 32, bytes: 8 << 20 }));
        assert_eq!(cache.take(Size::of(63 << 20)), Some(ninth));
        assert_eq!(cache.take(Size::of(63 << 20)).map(|block| block.bytes), Some(64 << 20));
        assert_eq!(cache.take(Size::of(63 << 20)), None);
        assert_eq!(cache.take(Size::of(17 << 20)), None);
        assert_eq!(cache.take(Size::of(15 << 20)).map(|block| block.bytes), Some(16 << 20));
        let total: u64 = cache.drain().iter().map(|block| block.bytes).sum();
        assert_eq!(total, (24 + 32 + 40 + 48 + 56) << 20);
    }
}
