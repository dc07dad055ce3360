//! Who used a piece of memory last: the rule by which work on several streams
//! is put in order.
//!
//! Each stream counts what is enqueued on it. A [`Uses`] holds, for one
//! allocation, the number of the last read and the last write on each stream
//! that used it. Before work on stream `s` is enqueued,
//!
//! - a read waits for the last write of every other stream,
//! - a write waits for the last read and write of every other stream,
//!
//! and afterwards the use is noted under `s`. Uses on the same stream need no
//! wait, since a stream runs in order: there the cost is one store.
//!
//! Invariant: an entry under stream `s` is only changed by a thread that holds
//! the lock of `s`, or that has the memory to itself ([`Access::Exclusive`]).
//! Entries are therefore never lost, though readers on several threads note
//! their uses at the same time without a common lock.
//!
//! Memory that one stream alone uses has an *owner*: the [`Lease`] of the stream that
//! had it to itself last. The owner's work compares one word and stores another; it
//! has the first two places, whether it uses them or not, so that nobody else takes
//! one. Whoever uses the memory on another stream takes the ownership away first, and
//! only another exclusive use gives it anew.

use crate::sync::model::{AtomicU8, AtomicU64, Mutex, Ordering, lock};

/// A stream's time with a queue: two of them are never the same, on any device. Zero
/// is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease(u64);

impl Lease {
    pub(crate) const NOBODY: Self = Self(0);

    fn new() -> Self {
        // No part of the models: only that numbers differ matters.
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        Self(LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1)
    }
}

/// The lease under which a queue is.
pub(crate) struct AtomicLease(AtomicU64);

impl Default for AtomicLease {
    fn default() -> Self {
        Self(AtomicU64::new(Lease::new().0))
    }
}

impl AtomicLease {
    #[inline]
    pub(crate) fn get(&self) -> Lease {
        // Relaxed: whoever uses the queue has its stream, which was made afterwards.
        Lease(self.0.load(Ordering::Relaxed))
    }

    /// Begins another one.
    pub(crate) fn renew(&self) -> Lease {
        let lease = Lease::new();
        self.0.store(lease.0, Ordering::Relaxed);
        lease
    }
}

/// Number of a stream on its device, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u16);

/// How a piece of work uses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads, perhaps at the same time as others.
    Read = 0,
    /// Writes a part; other threads may be noting uses of other parts.
    Write = 1,
    /// Writes, and nobody else can be using any part: the caller holds the whole
    /// allocation by exclusive reference.
    Exclusive = 2,
}

/// The last use of one kind on one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) stream: StreamId,
    pub(crate) is_write: bool,
    pub(crate) sequence: u64,
    /// Whether it only says that the memory was handed out behind this work: what the
    /// work did to it, or to other memory, is nobody's business any more.
    pub(crate) is_handover: bool,
}

/// A [`Use`] in one word: stream (16 bits), write (1), sequence (46), handover (1). At
/// a million uses a second the sequence lasts two years. Zero is no use.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Packed(u64);

impl Packed {
    const NONE: Self = Self(0);

    fn new(entry: Use) -> Self {
        let is_write = u64::from(entry.is_write);
        let sequence = (entry.sequence & SEQUENCE_MASK) << 1 | u64::from(entry.is_handover);
        Self(u64::from(entry.stream.0) << 48 | is_write << 47 | sequence)
    }

    fn get(self) -> Use {
        Use {
            stream: self.stream(),
            is_write: self.0 >> 47 & 1 == 1,
            sequence: self.0 >> 1 & SEQUENCE_MASK,
            is_handover: self.0 & 1 == 1,
        }
    }

    fn stream(self) -> StreamId {
        StreamId((self.0 >> 48) as u16)
    }

    /// Whether the place is kept for its stream, which has no use to note: work number
    /// 0 there never was.
    fn is_kept(self) -> bool {
        self.0 >> 1 & SEQUENCE_MASK == 0
    }

    /// Whether both are of the same kind on the same stream.
    fn is_same_slot(self, other: Self) -> bool {
        self.0 >> 47 == other.0 >> 47
    }
}

#[inline]
fn is_before(entry: Use, (stream, first): (StreamId, u64), access: Access) -> bool {
    let is_other = entry.stream != stream || entry.sequence < first;
    is_other && (entry.is_write || access != Access::Read)
}

const SEQUENCE_MASK: u64 = (1 << 46) - 1;
const WRITE: u64 = 1 << 47;

/// The uses that work of one stream comes after anyway: those on the stream, from its
/// first work on. A stretch of packed words, but for the bit that says whether they
/// write.
#[derive(Clone, Copy)]
pub(crate) struct Own {
    start: u64,
    len: u64,
}

impl Own {
    #[inline]
    pub(crate) fn new((stream, first): (StreamId, u64)) -> Self {
        let at = |sequence, is_handover| {
            Packed::new(Use { stream, is_write: false, sequence, is_handover }).0
        };
        let start = at(first, false);
        Self { start, len: at(SEQUENCE_MASK, true) - start }
    }

    #[inline]
    fn has(self, word: u64) -> bool {
        (word & !WRITE).wrapping_sub(self.start) <= self.len
    }
}

/// What an owner notes with all of the memory that a piece of work uses.
#[derive(Clone, Copy)]
pub(crate) struct OwnWords {
    read: u64,
    kept: u64,
}

impl OwnWords {
    #[inline(always)]
    pub(crate) fn new(stream: StreamId, sequence: u64) -> Self {
        let read = Packed::new(Use { stream, is_write: false, sequence, is_handover: false }).0;
        Self { read, kept: kept_read(stream) }
    }
}

const INLINE_LEN: usize = 4;

/// The last uses of one allocation.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Uses {
    /// Filled from the front; an entry's stream and kind never change while the
    /// allocation is shared.
    inline: [AtomicU64; INLINE_LEN],
    /// The [`Lease`] whose work need not look further: all uses are its own, and the
    /// first two places its write and its read. Given by who has the memory to itself,
    /// taken away by anybody.
    owner: AtomicU64,
    /// [`HAS_MORE`] and [`IS_HELD`].
    flags: AtomicU8,
    more: Mutex<Vec<u64>>,
}

/// Some uses are in `more`.
const HAS_MORE: u8 = 1;
/// A graph holds the memory (see `graph::table`).
const IS_HELD: u8 = 2;

impl Uses {
    /// Whether all uses are of this lease and no graph holds the memory: its next work
    /// waits for nothing, whatever the access, and may be noted by
    /// [`Uses::note_owned`].
    #[inline(always)]
    pub(crate) fn is_owned(&self, lease: Lease) -> bool {
        // Relaxed: as in `before`.
        self.owner.load(Ordering::Relaxed) == lease.0
    }

    /// Notes the next work of the owner. As for [`Uses::note`], and [`Uses::is_owned`]
    /// was seen by this work.
    #[inline(always)]
    pub(crate) fn note_owned(&self, words: OwnWords, access: Access) {
        let [write, read] = &self.inline[..2] else { unreachable!("there are four") };
        match access {
            Access::Read => read.store(words.read, Ordering::Relaxed),
            Access::Write => write.store(words.read | WRITE, Ordering::Relaxed),
            Access::Exclusive => {
                write.store(words.read | WRITE, Ordering::Relaxed);
                read.store(words.kept, Ordering::Relaxed);
            }
        }
    }

    /// Gives memory that nobody else has to its first owner: to be used behind work
    /// number `behind` of the stream, if that is not 0.
    #[inline]
    pub(crate) fn hand_out(&self, (stream, lease): (StreamId, Lease), behind: u64) {
        let entry = Use { stream, is_write: true, sequence: behind, is_handover: true };
        self.inline[0].store(Packed::new(entry).0, Ordering::Relaxed);
        self.inline[1].store(kept_read(stream), Ordering::Relaxed);
        self.owner.store(lease.0, Ordering::Relaxed);
    }

    /// A quick look whether work with these uses of its own, and this access, has to
    /// wait for nothing and no graph holds the memory. If not, there is
    /// [`Uses::before`].
    #[inline(always)]
    pub(crate) fn is_free(&self, own: Own, access: Access) -> bool {
        if self.flags.load(Ordering::Acquire) != 0 {
            return false;
        }
        for word in &self.inline {
            // Relaxed: as in `before`.
            let word = word.load(Ordering::Relaxed);
            if word == 0 {
                return true;
            }
            let is_own = own.has(word) || Packed(word).is_kept();
            if !is_own && (access != Access::Read || word & WRITE != 0) {
                return false;
            }
        }
        true
    }

    /// Calls `wait` for each use that work on `stream` with this access must come
    /// after, but for those that it comes after anyway: uses on the same stream,
    /// from number `first` on.
    ///
    /// # Errors
    ///
    /// What `wait` returns.
    pub(crate) fn before<E>(
        &self,
        (stream, first): (StreamId, u64),
        access: Access,
        wait: &mut dyn FnMut(Use) -> Result<(), E>,
    ) -> Result<(), E> {
        for word in &self.inline {
            // Relaxed: conflicting uses are ordered by Rust's borrow rules, and
            // whatever handed the reference over between threads synchronised.
            let word = Packed(word.load(Ordering::Relaxed));
            if word == Packed::NONE {
                return Ok(());
            }
            if !word.is_kept() && is_before(word.get(), (stream, first), access) {
                wait(word.get())?;
            }
        }
        if self.has_more(Ordering::Acquire) {
            self.before_more((stream, first), access, wait)?;
        }
        Ok(())
    }

    #[cold]
    fn before_more<E>(
        &self,
        stream: (StreamId, u64),
        access: Access,
        wait: &mut dyn FnMut(Use) -> Result<(), E>,
    ) -> Result<(), E> {
        let entries: Vec<u64> = lock(&self.more).clone();
        for entry in entries.into_iter().map(|word| Packed(word).get()) {
            if is_before(entry, stream, access) {
                wait(entry)?;
            }
        }
        Ok(())
    }

    /// Notes that work number `sequence` of `stream`, which `lease` has, uses the
    /// memory. The caller holds the stream's lock and has called [`Uses::before`].
    #[inline]
    pub(crate) fn note(&self, (stream, lease): (StreamId, Lease), access: Access, sequence: u64) {
        let is_write = access != Access::Read;
        let new = Packed::new(Use { stream, is_write, sequence, is_handover: false });
        if access == Access::Exclusive {
            self.note_alone(new, lease);
        } else {
            self.note_beside(new);
        }
    }

    /// Notes work that waits for every other use: theirs need no entry any more.
    /// Nobody else has the memory.
    fn note_alone(&self, new: Packed, lease: Lease) {
        self.inline[0].store(new.0, Ordering::Relaxed);
        self.inline[1].store(kept_read(new.stream()), Ordering::Relaxed);
        if self.inline[2].load(Ordering::Relaxed) != 0 {
            for word in &self.inline[2..] {
                word.store(0, Ordering::Relaxed);
            }
            if self.has_more(Ordering::Relaxed) {
                lock(&self.more).clear();
                self.flags.fetch_and(!HAS_MORE, Ordering::Relaxed);
            }
        }
        // Work on what a graph holds always has to look for its replays.
        let owner = if self.is_held() { Lease::NOBODY } else { lease };
        self.owner.store(owner.0, Ordering::Relaxed);
    }

    /// Notes a use while others may be noting theirs.
    fn note_beside(&self, new: Packed) {
        let first = Packed(self.inline[0].load(Ordering::Relaxed));
        if first.stream() != new.stream() {
            // Before the use is noted: an owner that still sees itself has its places.
            self.owner.store(Lease::NOBODY.0, Ordering::Relaxed);
        }
        for word in &self.inline {
            let old = Packed(word.load(Ordering::Relaxed));
            if old.is_same_slot(new) {
                word.store(new.0, Ordering::Relaxed);
                return;
            }
            if old == Packed::NONE {
                let claim = word.compare_exchange(0, new.0, Ordering::Relaxed, Ordering::Relaxed);
                if claim.is_ok() {
                    return;
                }
                // Another stream's thread took this place; look at the next.
            }
        }
        self.note_more(new);
    }

    #[cold]
    fn note_more(&self, new: Packed) {
        let mut more = lock(&self.more);
        match more.iter_mut().find(|word| Packed(**word).is_same_slot(new)) {
            Some(word) => *word = new.0,
            None => more.push(new.0),
        }
        self.flags.fetch_or(HAS_MORE, Ordering::Release);
    }

    /// Notes a use unless a later one of its kind on its stream is noted. For uses
    /// that come from elsewhere, in no order; no other thread notes any meanwhile.
    pub(crate) fn note_latest(&self, entry: Use) {
        let new = Packed::new(entry);
        // In one slot, words compare as their sequences do.
        let is_later = |word: u64| Packed(word).is_same_slot(new) && word >= new.0;
        let is_known = self.inline.iter().any(|word| is_later(word.load(Ordering::Relaxed)))
            || lock(&self.more).iter().any(|&word| is_later(word));
        if !is_known {
            self.note_beside(Packed::new(Use { is_handover: false, ..entry }));
        }
    }

    fn has_more(&self, order: Ordering) -> bool {
        self.flags.load(order) & HAS_MORE != 0
    }

    /// Whether a graph holds the memory, or did.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.flags.load(Ordering::Acquire) & IS_HELD != 0
    }

    /// Notes that a graph holds the memory.
    pub(crate) fn set_held(&self) {
        self.flags.fetch_or(IS_HELD, Ordering::Release);
        self.owner.store(Lease::NOBODY.0, Ordering::Relaxed);
    }

    /// Every use that is noted.
    pub(crate) fn all(&self) -> Vec<Use> {
        let inline = self.inline.iter().map(|word| word.load(Ordering::Relaxed));
        let mut words: Vec<u64> = inline.collect();
        words.extend(lock(&self.more).iter());
        words.into_iter().map(Packed).filter(|word| !word.is_kept()).map(Packed::get).collect()
    }

    /// The use on whose stream to read the memory: that of a last writer if there
    /// is one.
    pub(crate) fn last_write(&self) -> Option<Use> {
        let all = self.all();
        all.iter().rev().find(|entry| entry.is_write).or(all.last()).copied()
    }

    /// The only stream that used the memory, `Some(None)` if none did; `None` if
    /// there are several.
    #[inline]
    pub(crate) fn only_user(&self) -> Option<Option<StreamId>> {
        let mut only = None;
        for word in &self.inline {
            let word = Packed(word.load(Ordering::Relaxed));
            if word == Packed::NONE {
                return Some(only);
            }
            if word.is_kept() {
                continue;
            }
            if only.is_some_and(|stream| stream != word.stream()) {
                return None;
            }
            only = Some(word.stream());
        }
        if self.has_more(Ordering::Acquire) { None } else { Some(only) }
    }

    /// The stream on which to free the memory: the latest to join its users, so
    /// that those who had it before need not wait.
    pub(crate) fn last_user(&self) -> Option<StreamId> {
        self.all().last().map(|entry| entry.stream)
    }
}

/// The place of a stream's read, kept for it.
#[inline]
fn kept_read(stream: StreamId) -> u64 {
    u64::from(stream.0) << 48
}

/// A stream of the tests, with a lease of its own.
#[cfg(test)]
fn by(stream: u16) -> (StreamId, Lease) {
    (StreamId(stream), Lease(1000 + u64::from(stream)))
}

#[cfg(all(test, loom))]
#[path = "timeline/tests/models.rs"]
mod models;
#[cfg(all(test, not(loom)))]
mod tests;
