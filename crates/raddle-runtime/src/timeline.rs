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

use crate::sync::model::{AtomicU8, AtomicU64, Mutex, Ordering, lock};

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

    fn get(self) -> Option<Use> {
        (self != Self::NONE).then_some(Use {
            stream: StreamId((self.0 >> 48) as u16),
            is_write: self.0 >> 47 & 1 == 1,
            sequence: self.0 >> 1 & SEQUENCE_MASK,
            is_handover: self.0 & 1 == 1,
        })
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

const INLINE_LEN: usize = 4;

/// The last uses of one allocation.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Uses {
    /// Filled from the front; an entry's stream and kind never change while the
    /// allocation is shared.
    inline: [AtomicU64; INLINE_LEN],
    /// [`HAS_MORE`] and [`IS_HELD`].
    flags: AtomicU8,
    more: Mutex<Vec<u64>>,
}

/// Some uses are in `more`.
const HAS_MORE: u8 = 1;
/// A graph holds the memory (see `graph::table`).
const IS_HELD: u8 = 2;

impl Uses {
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
            if !own.has(word) && (access != Access::Read || word & WRITE != 0) {
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
            let Some(entry) = Packed(word.load(Ordering::Relaxed)).get() else { return Ok(()) };
            if is_before(entry, (stream, first), access) {
                wait(entry)?;
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
        for entry in entries.into_iter().filter_map(|word| Packed(word).get()) {
            if is_before(entry, stream, access) {
                wait(entry)?;
            }
        }
        Ok(())
    }

    /// Notes that work number `sequence` of `stream` uses the memory. The caller
    /// holds the stream's lock and has called [`Uses::before`].
    #[inline]
    pub(crate) fn note(&self, stream: StreamId, access: Access, sequence: u64) {
        let is_write = access != Access::Read;
        let new = Packed::new(Use { stream, is_write, sequence, is_handover: false });
        if access == Access::Exclusive {
            // The work waits for every other use: theirs need no entry any more.
            self.inline[0].store(new.0, Ordering::Relaxed);
            if self.inline[1].load(Ordering::Relaxed) != 0 {
                self.forget_others();
            }
            return;
        }
        if Packed(self.inline[0].load(Ordering::Relaxed)).is_same_slot(new) {
            self.inline[0].store(new.0, Ordering::Relaxed);
        } else {
            self.note_behind(new);
        }
    }

    /// Forgets all uses but the first. Nobody else has the memory.
    fn forget_others(&self) {
        for word in &self.inline[1..] {
            word.store(0, Ordering::Relaxed);
        }
        if self.has_more(Ordering::Relaxed) {
            lock(&self.more).clear();
            self.flags.fetch_and(!HAS_MORE, Ordering::Relaxed);
        }
    }

    /// Notes a use that is not of the first one's kind.
    fn note_behind(&self, new: Packed) {
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

    /// Notes that the memory, which nobody has used since it was handed out, may be used
    /// behind work number `sequence` of `stream`.
    pub(crate) fn note_handover(&self, stream: StreamId, sequence: u64) {
        let entry = Use { stream, is_write: true, sequence, is_handover: true };
        self.inline[0].store(Packed::new(entry).0, Ordering::Relaxed);
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
            let access = if entry.is_write { Access::Write } else { Access::Read };
            self.note(entry.stream, access, entry.sequence);
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
    }

    /// Every use that is noted.
    pub(crate) fn all(&self) -> Vec<Use> {
        let inline = self.inline.iter().map(|word| word.load(Ordering::Relaxed));
        let mut words: Vec<u64> = inline.collect();
        words.extend(lock(&self.more).iter());
        words.into_iter().filter_map(|word| Packed(word).get()).collect()
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
            let Some(entry) = Packed(word.load(Ordering::Relaxed)).get() else {
                return Some(only);
            };
            if only.is_some_and(|stream| stream != entry.stream) {
                return None;
            }
            only = Some(entry.stream);
        }
        if self.has_more(Ordering::Acquire) { None } else { Some(only) }
    }

    /// The stream on which to free the memory: the latest to join its users, so
    /// that those who had it before need not wait.
    #[inline]
    pub(crate) fn last_user(&self) -> Option<StreamId> {
        let first = Packed(self.inline[0].load(Ordering::Relaxed)).get()?;
        if Packed(self.inline[1].load(Ordering::Relaxed)) == Packed::NONE {
            return Some(first.stream);
        }
        self.all().last().map(|entry| entry.stream)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn waits(uses: &Uses, stream: u16, access: Access) -> Vec<(u16, bool, u64)> {
        let mut found = Vec::new();
        let result: Result<(), ()> = uses.before((StreamId(stream), 0), access, &mut |entry| {
            found.push((entry.stream.0, entry.is_write, entry.sequence));
            Ok(())
        });
        assert_eq!(result, Ok(()));
        found.sort_unstable();
        found
    }

    #[test]
    fn entries_survive_packing() {
        for entry in [
            Use { stream: StreamId(1), is_write: false, sequence: 0, is_handover: false },
            Use { stream: StreamId(1), is_write: true, sequence: 7, is_handover: true },
            Use {
                stream: StreamId(u16::MAX),
                is_write: true,
                sequence: SEQUENCE_MASK,
                is_handover: false,
            },
        ] {
            assert_eq!(Packed::new(entry).get(), Some(entry));
        }
        assert_eq!(Packed::NONE.get(), None);
    }

    #[test]
    fn the_quick_look_finds_what_the_close_one_finds() {
        let mut state = 1u64;
        let mut pick = |len: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % len
        };
        let (mut free, mut busy) = (0, 0);
        for _ in 0..20_000 {
            let uses = Uses::default();
            for _ in 0..pick(7) {
                let access = if pick(3) == 0 { Access::Write } else { Access::Read };
                uses.note(StreamId(pick(3) as u16 + 1), access, pick(4));
            }
            let (stream, first) = (StreamId(pick(3) as u16 + 1), pick(4));
            let access = [Access::Read, Access::Write, Access::Exclusive][pick(3) as usize];
            let mut waits = 0;
            let _ = uses.before((stream, first), access, &mut |_| {
                waits += 1;
                Ok::<(), ()>(())
            });
            let is_free = uses.is_free(Own::new((stream, first)), access);
            // With more uses than fit inline it does not look.
            assert_eq!(is_free, waits == 0 && !uses.has_more(Ordering::Relaxed));
            free += u32::from(is_free);
            busy += u32::from(!is_free);
        }
        assert!(free > 1000 && busy > 1000, "{free} free, {busy} busy");
        uses_of_a_graph_are_not_free();
    }

    fn uses_of_a_graph_are_not_free() {
        let uses = Uses::default();
        let own = Own::new((StreamId(1), 0));
        assert!(uses.is_free(own, Access::Exclusive));
        uses.set_held();
        assert!(!uses.is_free(own, Access::Read) && uses.is_held());
    }

    #[test]
    fn one_stream_never_waits_for_itself() {
        let uses = Uses::default();
        for sequence in 1..100 {
            let access = [Access::Read, Access::Write, Access::Exclusive][sequence as usize % 3];
            assert!(waits(&uses, 7, access).is_empty());
            uses.note(StreamId(7), access, sequence);
        }
        assert!(uses.all().len() <= 2);
    }

    #[test]
    fn a_read_waits_for_writes_and_a_write_for_everything() {
        let uses = Uses::default();
        uses.note(StreamId(1), Access::Exclusive, 10);
        uses.note(StreamId(2), Access::Read, 20);
        uses.note(StreamId(1), Access::Read, 30);
        assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 10)]);
        assert_eq!(
            waits(&uses, 3, Access::Exclusive),
            [(1, false, 30), (1, true, 10), (2, false, 20)]
        );
        assert_eq!(waits(&uses, 1, Access::Exclusive), [(2, false, 20)]);
        uses.note(StreamId(3), Access::Exclusive, 40);
        assert_eq!(uses.all().len(), 1);
        assert_eq!(waits(&uses, 1, Access::Read), [(3, true, 40)]);
    }

    #[test]
    fn uses_from_elsewhere_never_hide_later_ones() {
        let uses = Uses::default();
        for stream in 1..8 {
            for sequence in [7, 9, 3] {
                uses.note_latest(Use {
                    stream: StreamId(stream),
                    is_write: true,
                    sequence,
                    is_handover: false,
                });
            }
            uses.note_latest(Use {
                stream: StreamId(stream),
                is_write: false,
                sequence: 1,
                is_handover: false,
            });
        }
        let found = waits(&uses, 100, Access::Exclusive);
        let expected = (1..8).flat_map(|stream| [(stream, false, 1), (stream, true, 9)]);
        assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_later_fast_reader_does_not_hide_an_earlier_slow_one() {
        let uses = Uses::default();
        uses.note(StreamId(1), Access::Exclusive, 1);
        for stream in 2..40 {
            uses.note(StreamId(stream), Access::Read, u64::from(stream) * 100);
        }
        let found = waits(&uses, 1, Access::Exclusive);
        assert_eq!(found.len(), 38);
        assert!((2..40).all(|stream| found.contains(&(stream, false, u64::from(stream) * 100))));
        for stream in 2..40 {
            uses.note(StreamId(stream), Access::Read, 5000);
        }
        assert_eq!(waits(&uses, 1, Access::Exclusive).len(), 38);
        uses.note(StreamId(1), Access::Exclusive, 2);
        assert_eq!(uses.all().len(), 1);
    }

    #[test]
    fn concurrent_readers_all_leave_their_entries() {
        let uses = Uses::default();
        std::thread::scope(|scope| {
            for stream in 1..=8 {
                let uses = &uses;
                scope.spawn(move || {
                    for sequence in 1..=2000 {
                        uses.note(StreamId(stream), Access::Read, sequence);
                    }
                });
            }
        });
        let found = waits(&uses, 100, Access::Exclusive);
        let expected: Vec<_> = (1..=8).map(|stream| (stream, false, 2000)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn disjoint_parts_written_on_two_streams_are_both_remembered() {
        let uses = Uses::default();
        uses.note(StreamId(1), Access::Write, 1);
        uses.note(StreamId(2), Access::Write, 1);
        assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 1), (2, true, 1)]);
        assert!(uses.last_write().is_some_and(|entry| entry.is_write));
        uses.note(StreamId(3), Access::Read, 1);
        assert_eq!(uses.last_user(), Some(StreamId(3)));
        assert!(uses.last_write().is_some_and(|entry| entry.stream != StreamId(3)));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;

    fn waits(uses: &Uses, stream: u16, access: Access) -> Vec<(u16, bool, u64)> {
        let mut found = Vec::new();
        let result: Result<(), ()> = uses.before((StreamId(stream), 0), access, &mut |entry| {
            found.push((entry.stream.0, entry.is_write, entry.sequence));
            Ok(())
        });
        assert_eq!(result, Ok(()));
        found.sort_unstable();
        found
    }

    /// Readers on three streams race for the places of one allocation, each twice:
    /// a writer who comes after them finds the last use of each.
    #[test]
    fn loom_no_reader_is_lost() {
        // More switches than that between three threads take minutes to go through.
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(|| {
            let uses = loom::sync::Arc::new(Uses::default());
            uses.note(StreamId(9), Access::Exclusive, 1);
            let readers: Vec<_> = (1..=2)
                .map(|stream| {
                    let uses = loom::sync::Arc::clone(&uses);
                    loom::thread::spawn(move || {
                        assert_eq!(waits(&uses, stream, Access::Read), [(9, true, 1)]);
                        uses.note(StreamId(stream), Access::Read, 1);
                        uses.note(StreamId(stream), Access::Read, 2);
                    })
                })
                .collect();
            uses.note(StreamId(9), Access::Read, 5);
            for reader in readers {
                reader.join().unwrap();
            }
            assert_eq!(waits(&uses, 9, Access::Exclusive), [(1, false, 2), (2, false, 2)]);
            uses.note(StreamId(9), Access::Exclusive, 6);
            assert_eq!(waits(&uses, 1, Access::Read), [(9, true, 6)]);
        });
    }

    /// The same where the inline places are full and the rest is behind a lock.
    #[test]
    fn loom_no_reader_is_lost_beyond_the_inline_places() {
        loom::model(|| {
            let uses = loom::sync::Arc::new(Uses::default());
            for stream in 10..13 {
                uses.note(StreamId(stream), Access::Read, 1);
            }
            let readers: Vec<_> = (1..=2)
                .map(|stream| {
                    let uses = loom::sync::Arc::clone(&uses);
                    loom::thread::spawn(move || uses.note(StreamId(stream), Access::Read, 7))
                })
                .collect();
            for reader in readers {
                reader.join().unwrap();
            }
            let found = waits(&uses, 9, Access::Exclusive);
            assert_eq!(found.len(), 5, "{found:?}");
            assert!(found.contains(&(1, false, 7)) && found.contains(&(2, false, 7)));
        });
    }

    /// Parts of one allocation are written on two streams at the same time.
    #[test]
    fn loom_no_writer_of_a_part_is_lost() {
        loom::model(|| {
            let uses = loom::sync::Arc::new(Uses::default());
            let other = {
                let uses = loom::sync::Arc::clone(&uses);
                loom::thread::spawn(move || uses.note(StreamId(1), Access::Write, 3))
            };
            uses.note(StreamId(2), Access::Write, 4);
            other.join().unwrap();
            assert_eq!(waits(&uses, 3, Access::Read), [(1, true, 3), (2, true, 4)]);
        });
    }
}
