//! Memory that large bodies land in, used again and again.
//!
//! A tensor's buffer that is given back to the allocator and asked for again costs a page
//! fault for every 4 KiB, more than the copy from the socket itself. So buffers are kept,
//! the one that was used last is used first, and what nobody needed for a while goes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Longest piece of a body: what a client can have the server set aside before it sends.
pub const PIECE_BYTES_MAX: usize = 1 << 20;
/// Capacity of the smallest pieces; each class has twice that of the one before.
const SMALLEST_BYTES: usize = 64 << 10;
const CLASSES: usize = (PIECE_BYTES_MAX / SMALLEST_BYTES).ilog2() as usize + 1;
/// Most bytes of capacity that are kept though nobody uses them.
const IDLE_BYTES_MAX: usize = 128 << 20;

/// Buffers that nobody uses at the moment.
#[derive(Default)]
pub struct Pieces(Mutex<State>);

#[derive(Default)]
struct State {
    classes: [Class; CLASSES],
    bytes: usize,
}

#[derive(Default)]
struct Class {
    idle: Vec<Vec<u8>>,
    /// Fewest that were idle since the last look.
    idle_min: usize,
}

/// A buffer of at least the capacity that was asked for; given back when dropped.
pub struct Piece {
    /// The bytes that have come.
    pub bytes: Vec<u8>,
    class: usize,
    pieces: Arc<Pieces>,
}

impl Pieces {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can fail half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty buffer for `len` bytes, [`PIECE_BYTES_MAX`] at most.
    pub fn take(self: &Arc<Self>, len: usize) -> Piece {
        debug_assert!(len <= PIECE_BYTES_MAX, "a body comes in pieces");
        let class = len.div_ceil(SMALLEST_BYTES).max(1).next_power_of_two().ilog2() as usize;
        let capacity = SMALLEST_BYTES << class;
        let mut state = self.lock();
        let found = state.classes[class].take();
        if found.is_some() {
            state.bytes -= capacity;
        }
        drop(state);
        let bytes = found.unwrap_or_else(|| Vec::with_capacity(capacity));
        Piece { bytes, class, pieces: Arc::clone(self) }
    }

    /// Frees half of what was not needed since the last call.
    pub fn trim(&self) {
        let mut state = self.lock();
        let mut gone = Vec::new();
        for (class, Class { idle, idle_min }) in state.classes.iter_mut().enumerate() {
            // The first have been idle longest.
            let spare = idle_min.div_ceil(2);
            gone.extend(idle.drain(..spare).map(|bytes| (bytes, SMALLEST_BYTES << class)));
            *idle_min = idle.len();
        }
        state.bytes -= gone.iter().map(|(_, capacity)| capacity).sum::<usize>();
        drop(state);
        // To free them takes its time, and nobody need wait for it.
        drop(gone);
    }
}

impl Class {
    fn take(&mut self) -> Option<Vec<u8>> {
        let found = self.idle.pop();
        self.idle_min = self.idle_min.min(self.idle.len());
        found
    }
}

impl Piece {
    /// The bytes, shared; the buffer goes back when the last one lets go of them.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let capacity = SMALLEST_BYTES << self.class;
        let mut state = self.pieces.lock();
        if state.bytes + capacity <= IDLE_BYTES_MAX {
            state.bytes += capacity;
            state.classes[self.class].idle.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(pieces: &Pieces) -> (usize, usize) {
        let state = pieces.lock();
        (state.classes.iter().map(|class| class.idle.len()).sum(), state.bytes)
    }

    #[test]
    fn memory_is_used_again_by_its_size() {
        let pieces = Arc::new(Pieces::default());
        for (len, capacity) in [
            (1, SMALLEST_BYTES),
            (SMALLEST_BYTES, SMALLEST_BYTES),
            (SMALLEST_BYTES + 1, 2 * SMALLEST_BYTES),
            (602_112, PIECE_BYTES_MAX),
            (PIECE_BYTES_MAX, PIECE_BYTES_MAX),
        ] {
            assert_eq!(pieces.take(len).bytes.capacity(), capacity, "{len}");
        }
        assert_eq!(idle(&pieces), (3, PIECE_BYTES_MAX + 3 * SMALLEST_BYTES));
        let mut piece = pieces.take(602_112);
        piece.bytes.extend_from_slice(b"abc");
        let address = piece.bytes.as_ptr();
        let shared = piece.freeze();
        let part = shared.slice(1..);
        drop(shared);
        assert_eq!(idle(&pieces).0, 2, "somebody still reads it");
        assert_eq!(&part[..], b"bc");
        drop(part);
        let again = pieces.take(600_000);
        assert_eq!((again.bytes.as_ptr(), again.bytes.len()), (address, 0));
    }

    #[test]
    fn what_is_not_needed_goes_and_what_is_kept_is_bounded() {
        let pieces = Arc::new(Pieces::default());
        let all: Vec<Piece> = (0..200).map(|_| pieces.take(PIECE_BYTES_MAX)).collect();
        drop(all);
        assert_eq!(idle(&pieces), (128, IDLE_BYTES_MAX));
        pieces.trim();
        // Three of them are needed from now on.
        let needed: Vec<Piece> = (0..3).map(|_| pieces.take(PIECE_BYTES_MAX)).collect();
        drop(needed);
        let counts: Vec<usize> = (0..10).map(|_| (pieces.trim(), idle(&pieces).0).1).collect();
        assert_eq!(counts, [65, 32, 16, 8, 4, 2, 1, 0, 0, 0]);
        assert_eq!(idle(&pieces), (0, 0));
    }
}
