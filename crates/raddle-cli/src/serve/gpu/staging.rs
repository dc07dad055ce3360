//! Pinned memory that requests' inputs are copied to when they come, each on the thread
//! that has it: when a batch's turn comes the device copies all of it at once, and the
//! instance has nothing left to do.
//!
//! Memory that was pinned is kept for later requests, since to pin it takes long, in
//! pieces of a row each, so that those of any request fit any other; the warm-up's rows
//! make the first. A model holds at most [`BYTES_MAX`] that way; what finds no room is
//! copied by its instance. So are short rows: to copy each by itself would cost the
//! device more than it saves the host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raddle::Device;
use raddle_models::Result;
use raddle_models::gpu::Piece;
use raddle_server::tensor::Rope;

/// Most bytes of pinned memory for the inputs of a model.
const BYTES_MAX: usize = 512 << 20;

/// Shortest rows that are copied by themselves.
pub const ROW_BYTES_MIN: usize = 64 << 10;

/// What the model's input is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Floats.
    Floats,
    /// Pixels that the device makes floats of.
    Pixels,
}

impl Kind {
    fn bytes(self, len: usize) -> usize {
        match self {
            Self::Floats => len * size_of::<f32>(),
            Self::Pixels => len,
        }
    }
}

/// The pinned memory of a model.
pub struct Pool {
    device: Device,
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Pieces that nobody uses, by length.
    free: HashMap<usize, Vec<Piece>>,
    /// Bytes of all pieces that were made and not given up.
    bytes: usize,
}

/// A request's input in pinned memory, row by row.
pub struct Held {
    rows: Mutex<Vec<Piece>>,
    pool: Arc<Pool>,
    took: Duration,
}

impl Held {
    /// The rows, and the time that it took to fill them; once.
    pub fn take(&self) -> Option<(Vec<Piece>, Duration)> {
        let rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        (!rows.is_empty()).then_some((rows, self.took))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Of a request that was given up before its turn.
        let rows = self.take().map(|(rows, _)| rows).unwrap_or_default();
        rows.into_iter().for_each(|row| self.pool.put(row));
    }
}

impl Pool {
    pub fn new(device: &Device, kind: Kind) -> Arc<Self> {
        Arc::new(Self { device: device.clone(), kind, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can fail half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's rows in pinned memory; `None` if they are short or there is no room.
    pub fn hold(self: &Arc<Self>, data: &Rope, rows: usize) -> Option<Held> {
        if data.len() < rows * ROW_BYTES_MIN {
            return None;
        }
        let began = Instant::now();
        let (mut rest, mut held) = (data.clone(), Vec::with_capacity(rows));
        for _ in 0..rows {
            let Some(mut row) = self.take(self.len(data.len() / rows)) else {
                held.into_iter().for_each(|row| self.put(row));
                return None;
            };
            fill(&mut row, &rest.split_to(data.len() / rows).unwrap_or_default());
            held.push(row);
        }
        let pool = Arc::clone(self);
        Some(Held { rows: Mutex::new(held), pool, took: began.elapsed() })
    }

    /// A row in pinned memory, though there be no room.
    ///
    /// ## Errors
    /// That memory cannot be pinned.
    pub fn copied(&self, row: &Rope) -> Result<Piece> {
        let mut piece = self.piece(row.len())?;
        fill(&mut piece, row);
        Ok(piece)
    }

    /// Pinned memory of `bytes` bytes, with anything in it, though there be no room.
    ///
    /// ## Errors
    /// That memory cannot be pinned.
    pub fn piece(&self, bytes: usize) -> Result<Piece> {
        let len = self.len(bytes);
        match self.take(len) {
            Some(piece) => Ok(piece),
            None => {
                self.lock().bytes += self.kind.bytes(len);
                self.make(len).inspect_err(|_| self.lock().bytes -= self.kind.bytes(len))
            }
        }
    }

    fn len(&self, bytes: usize) -> usize {
        bytes / self.kind.bytes(1)
    }

    fn make(&self, len: usize) -> Result<Piece> {
        match self.kind {
            Kind::Floats => Piece::floats(&self.device, len),
            Kind::Pixels => Piece::pixels(&self.device, len),
        }
    }

    /// A piece within the limit, for which free ones of other lengths go.
    fn take(&self, len: usize) -> Option<Piece> {
        let bytes = self.kind.bytes(len);
        let mut state = self.lock();
        if let Some(piece) = state.free.get_mut(&len).and_then(Vec::pop) {
            return Some(piece);
        }
        let mut gone = Vec::new();
        while state.bytes + bytes > BYTES_MAX {
            let other = state.free.values_mut().find_map(Vec::pop)?;
            state.bytes -= self.kind.bytes(other.len());
            gone.push(other);
        }
        state.bytes += bytes;
        drop(state);
        // To free and to pin takes its time, and others need not wait for it.
        drop(gone);
        // Whoever needs it for certain learns why it cannot be pinned.
        self.make(len).inspect_err(|_| self.lock().bytes -= bytes).ok()
    }

    /// Keeps a piece for others, or frees it if there are too many.
    pub fn put(&self, piece: Piece) {
        let mut state = self.lock();
        if state.bytes <= BYTES_MAX {
            state.free.entry(piece.len()).or_default().push(piece);
            return;
        }
        state.bytes -= self.kind.bytes(piece.len());
        drop(state);
        drop(piece);
    }

    /// Notes that a piece is gone with a run that failed.
    pub fn forget(&self, len: usize) {
        self.lock().bytes -= self.kind.bytes(len);
    }
}

/// The one copy of a request's data that the host makes.
fn fill(piece: &mut Piece, data: &Rope) {
    data.copy_to(bytes_of(piece));
}

/// A piece as the bytes that a request brings.
pub fn bytes_of(piece: &mut Piece) -> &mut [u8] {
    match piece {
        Piece::Floats(floats) => bytemuck::cast_slice_mut(floats),
        Piece::Pixels(pixels) => pixels,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(pool: &Pool) -> (usize, usize) {
        let state = pool.lock();
        (state.bytes, state.free.values().map(Vec::len).sum())
    }

    const ROW: usize = ROW_BYTES_MIN;

    #[test]
    fn memory_is_kept_and_counted() {
        let pool = Pool::new(&Device::cpu(), Kind::Floats);
        let data = Rope::from([1.5f32, -2.0].map(|it| it.to_le_bytes().repeat(ROW / 4)).concat());
        let held = pool.hold(&data, 2).unwrap();
        assert_eq!(bytes(&pool), (2 * ROW, 0));
        let (rows, _) = held.take().unwrap();
        assert_eq!(rows.len(), 2);
        for (row, wanted) in rows.iter().zip([1.5, -2.0]) {
            let Piece::Floats(floats) = row else { panic!("{row:?}") };
            assert!(floats.iter().all(|&it| it == wanted));
        }
        assert!(held.take().is_none());
        rows.into_iter().for_each(|row| pool.put(row));
        drop(held);
        assert_eq!(bytes(&pool), (2 * ROW, 2));
        // A request that is given up gives its memory back too.
        drop(pool.hold(&data, 2));
        assert_eq!(bytes(&pool), (2 * ROW, 2));
        assert!(pool.hold(&data, 3).is_none(), "its rows are short");
        let lost = pool.copied(&data).unwrap();
        pool.forget(lost.len());
        assert_eq!(bytes(&pool), (2 * ROW, 2));
    }

    #[test]
    fn there_is_a_limit_and_no_request_fails_at_it() {
        let pool = Pool::new(&Device::cpu(), Kind::Pixels);
        let data = |len: usize| Rope::from(vec![7; len]);
        // As if others had it, so that the test needs no such memory.
        pool.lock().bytes = BYTES_MAX - ROW - 10;
        drop(pool.hold(&data(ROW + 8), 1));
        assert_eq!(bytes(&pool), (BYTES_MAX - 2, 1));
        // What is free gives way to what is wanted.
        let held = pool.hold(&data(ROW + 9), 1).unwrap();
        assert_eq!(bytes(&pool), (BYTES_MAX - 1, 0));
        assert!(pool.hold(&data(2 * ROW), 2).is_none());
        let more = pool.copied(&data(8)).unwrap();
        assert_eq!(bytes(&pool), (BYTES_MAX + 7, 0));
        pool.put(more);
        drop(held);
        assert_eq!(bytes(&pool), (BYTES_MAX - 1, 1));
    }
}
