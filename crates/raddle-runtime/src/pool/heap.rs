//! Ranges of a device's memory: best fit, split and merge, above large pieces
//! that a [`Source`] maps.
//!
//! The heap knows addresses and [`Pending`] work only; it calls no driver but
//! through its source, so that it is tested against a naive oracle without a
//! device (`heap_tests.rs`).
//!
//! Invariants: free ranges do not overlap each other or anything handed out;
//! every mapped byte is in exactly one of them or handed out; two neighbours that
//! belong together and wait for the same streams are one range.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::pending::{Pending, Point, State};

/// Where a heap gets its memory.
pub(crate) trait Source {
    /// Why there is none.
    type Error;

    /// Maps at least `bytes` more bytes and gives the range that is new.
    fn map(&mut self, bytes: u64) -> Result<Mapped, Self::Error>;

    /// Maps at least `bytes` bytes right behind `address`, where the source can.
    fn map_behind(&mut self, address: u64, bytes: u64) -> Option<Result<Mapped, Self::Error>>;

    /// Gives back the pieces that lie wholly within `range`, which nothing uses
    /// any more, and returns them in order.
    fn unmap(&mut self, range: Range<u64>) -> Vec<Range<u64>>;

    /// Whether the memory below and above `address` is one piece.
    fn is_joined(&self, address: u64) -> bool;
}

/// Memory that a source has just mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) range: Range<u64>,
    /// Whether it is known to hold zeros.
    pub(crate) is_zero: bool,
}

/// A range that was handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    /// What its new owner comes after, or must be made to come after.
    pub(crate) pending: Pending,
    /// Whether it is known to hold zeros.
    pub(crate) is_zero: bool,
}

#[derive(Clone, Debug)]
struct Free {
    bytes: u64,
    pending: Pending,
    is_zero: bool,
}

/// Sizes of everything in a heap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HeapUse {
    /// Bytes taken from the source.
    pub(crate) mapped_bytes: u64,
    /// Bytes that are free here.
    pub(crate) free_bytes: u64,
    /// The largest free range.
    pub(crate) largest_free_bytes: u64,
}

/// Free and handed-out ranges above a source.
pub(crate) struct Heap<S> {
    source: S,
    /// By address.
    free: BTreeMap<u64, Free>,
    /// The same, as (bytes, address).
    by_size: BTreeSet<(u64, u64)>,
    mapped_bytes: u64,
    free_bytes: u64,
}

impl<S: Source> Heap<S> {
    pub(crate) fn new(source: S) -> Self {
        let (free, by_size) = (BTreeMap::new(), BTreeSet::new());
        Self { source, free, by_size, mapped_bytes: 0, free_bytes: 0 }
    }

    /// The smallest range of at least `bytes` that the asking stream may have now.
    pub(crate) fn take(
        &mut self,
        bytes: u64,
        state: &mut dyn FnMut(Point) -> State,
    ) -> Option<Grant> {
        let mut from = (bytes, 0);
        for _ in 0..LOOKED_AT_MAX {
            let &(size, address) = self.by_size.range(from..).next()?;
            let range = self.free.get_mut(&address).expect("both tables name the same ranges");
            if range.pending.prune(state) {
                return Some(self.carve(address, bytes));
            }
            from = (size, address + 1);
        }
        None
    }

    /// The smallest range of at least `bytes`, whatever it waits for.
    pub(crate) fn take_pending(&mut self, bytes: u64) -> Option<Grant> {
        let &(_, address) = self.by_size.range((bytes, 0)..).next()?;
        Some(self.carve(address, bytes))
    }

    /// Takes a range back that waits for `pending`.
    pub(crate) fn put(&mut self, address: u64, bytes: u64, pending: Pending) {
        self.free_bytes += bytes;
        self.insert(address, Free { bytes, pending, is_zero: false });
    }

    /// Forgets points that have ended, and makes neighbours one where the asking
    /// stream may have both.
    pub(crate) fn settle(&mut self, state: &mut dyn FnMut(Point) -> State) {
        let ready: Vec<u64> = self
            .free
            .iter_mut()
            .filter_map(|(&address, range)| range.pending.prune(state).then_some(address))
            .collect();
        for address in ready {
            // It may have become a part of the one before.
            let Some(range) = self.free.get(&address) else { continue };
            let mut range = range.clone();
            while let Some(next) = self.free.get(&(address + range.bytes)) {
                let at = address + range.bytes;
                let mut pending = next.pending.clone();
                if !pending.prune(state) || !self.source.is_joined(at) {
                    break;
                }
                let next = self.remove(at);
                range.bytes += next.bytes;
                range.pending.join(&next.pending);
                range.is_zero &= next.is_zero;
            }
            self.remove(address);
            self.insert(address, range);
        }
    }

    /// Maps more memory and hands out `bytes` of it; `growth` is how much to map
    /// if all of it has to be new.
    ///
    /// # Errors
    ///
    /// What the source says; nothing has changed then.
    pub(crate) fn grow(
        &mut self,
        bytes: u64,
        growth: u64,
        state: &mut dyn FnMut(Point) -> State,
    ) -> Result<Grant, S::Error> {
        if let Some(grown) = self.grow_last(bytes, state) {
            return grown;
        }
        let Mapped { range, is_zero } = self.source.map(growth.max(bytes))?;
        let mapped = range.end - range.start;
        self.mapped_bytes += mapped;
        if mapped > bytes {
            let rest = Free { bytes: mapped - bytes, pending: Pending::default(), is_zero };
            self.free_bytes += rest.bytes;
            self.insert(range.start + bytes, rest);
        }
        Ok(Grant { address: range.start, bytes, pending: Pending::default(), is_zero })
    }

    /// Makes the highest free range long enough, if the stream may have it.
    fn grow_last(
        &mut self,
        bytes: u64,
        state: &mut dyn FnMut(Point) -> State,
    ) -> Option<Result<Grant, S::Error>> {
        let (&address, range) = self.free.iter_mut().next_back()?;
        if range.bytes >= bytes || !range.pending.prune(state) {
            return None;
        }
        let end = address + range.bytes;
        let mapped = match self.source.map_behind(end, bytes - range.bytes)? {
            Ok(mapped) => mapped,
            Err(error) => return Some(Err(error)),
        };
        let new_bytes = mapped.range.end - mapped.range.start;
        let Free { bytes: old_bytes, pending, is_zero } = self.remove(address);
        let is_zero = is_zero && mapped.is_zero;
        self.mapped_bytes += new_bytes;
        self.free_bytes -= old_bytes;
        let rest_bytes = old_bytes + new_bytes - bytes;
        if rest_bytes > 0 {
            self.free_bytes += rest_bytes;
            let rest = Free { bytes: rest_bytes, pending: Pending::default(), is_zero };
            self.insert(address + bytes, rest);
        }
        Some(Ok(Grant { address, bytes, pending, is_zero }))
    }

    /// Gives back to the source what is free and waits for nothing, until at least
    /// `wanted` bytes went. Returns how many did.
    pub(crate) fn trim(&mut self, wanted: u64, state: &mut dyn FnMut(Point) -> State) -> u64 {
        self.settle(state);
        let settled: Vec<u64> = self
            .free
            .iter()
            .rev()
            .filter(|(_, range)| range.pending.is_settled())
            .map(|(&address, _)| address)
            .collect();
        let mut trimmed = 0;
        for address in settled {
            if trimmed >= wanted {
                break;
            }
            let bytes = self.free[&address].bytes;
            for piece in self.source.unmap(address..address + bytes) {
                trimmed += piece.end - piece.start;
                self.cut(piece);
            }
        }
        trimmed
    }

    /// Takes a piece that is gone out of the free range around it.
    fn cut(&mut self, piece: Range<u64>) {
        let (&address, _) =
            self.free.range(..=piece.start).next_back().expect("a free range holds the piece");
        let range = self.remove(address);
        let end = address + range.bytes;
        assert!(piece.end <= end, "the piece lies in the range");
        for (start, stop) in [(address, piece.start), (piece.end, end)] {
            if start < stop {
                self.insert(start, Free { bytes: stop - start, ..range.clone() });
            }
        }
        let bytes = piece.end - piece.start;
        self.free_bytes -= bytes;
        self.mapped_bytes -= bytes;
    }

    /// Every point that a free range waits for.
    pub(crate) fn points(&self) -> Pending {
        let mut all = Pending::default();
        for range in self.free.values() {
            all.join(&range.pending);
        }
        all
    }

    pub(crate) fn usage(&self) -> HeapUse {
        HeapUse {
            mapped_bytes: self.mapped_bytes,
            free_bytes: self.free_bytes,
            largest_free_bytes: self.by_size.last().map_or(0, |&(bytes, _)| bytes),
        }
    }

    pub(crate) fn source_mut(&mut self) -> &mut S {
        &mut self.source
    }

    /// Hands out the first `bytes` of the free range at `address`.
    fn carve(&mut self, address: u64, bytes: u64) -> Grant {
        let Free { bytes: size, pending, is_zero } = self.remove(address);
        self.free_bytes -= bytes;
        if size > bytes {
            let rest = Free { bytes: size - bytes, pending: pending.clone(), is_zero };
            self.add(address + bytes, rest);
        }
        Grant { address, bytes, pending, is_zero }
    }

    /// Adds a range, joined with its neighbours where that costs nobody anything.
    fn insert(&mut self, mut address: u64, mut range: Free) {
        let below = self.free.range(..address).next_back();
        if let Some((&start, below)) = below
            && start + below.bytes == address
            && self.can_join(below, &range, address)
        {
            let below = self.remove(start);
            address = start;
            range.bytes += below.bytes;
            range.pending.join(&below.pending);
            range.is_zero &= below.is_zero;
        }
        let end = address + range.bytes;
        if let Some(above) = self.free.get(&end)
            && self.can_join(&range, above, end)
        {
            let above = self.remove(end);
            range.bytes += above.bytes;
            range.pending.join(&above.pending);
            range.is_zero &= above.is_zero;
        }
        self.add(address, range);
    }

    fn can_join(&self, below: &Free, above: &Free, at: u64) -> bool {
        below.pending.is_alike(&above.pending) && self.source.is_joined(at)
    }

    fn add(&mut self, address: u64, range: Free) {
        let is_new = self.by_size.insert((range.bytes, address));
        let old = self.free.insert(address, range);
        assert!(is_new && old.is_none(), "a range is free once");
    }

    fn remove(&mut self, address: u64) -> Free {
        let range = self.free.remove(&address).expect("the range is free");
        assert!(self.by_size.remove(&(range.bytes, address)), "both tables name it");
        range
    }
}

/// How many ranges that fit are asked whether they are ready before more memory is
/// mapped.
const LOOKED_AT_MAX: usize = 64;

#[cfg(all(test, not(loom)))]
#[path = "heap_tests.rs"]
mod tests;
