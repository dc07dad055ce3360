//! A fixed number of streams to borrow from, for services whose tasks come and go
//! by the thousand: each task gets the stream that has the least to do.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::Device;
use crate::error::Result;
use crate::stream::Stream;

/// Streams of one device, shared by whoever borrows them. Clones are the same
/// pool.
#[derive(Clone, Debug)]
pub struct StreamPool {
    seats: Arc<[Seat]>,
    next: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Seat {
    stream: Stream,
    borrowers: AtomicUsize,
}

impl StreamPool {
    /// A pool of `len` streams, at least one.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn new(device: &Device, len: usize) -> Result<Self> {
        Self::with_priority(device, len, 0)
    }

    /// A pool of `len` streams of this priority (see
    /// [`Device::stream_with_priority`]), at least one.
    ///
    /// ## Errors
    ///
    /// As [`Device::stream_with_priority`].
    pub fn with_priority(device: &Device, len: usize, priority: u32) -> Result<Self> {
        let seat = |_| {
            let stream = device.stream_with_priority(priority)?;
            Ok(Seat { stream, borrowers: AtomicUsize::new(0) })
        };
        let seats: Vec<Seat> = (0..len.max(1)).map(seat).collect::<Result<_>>()?;
        Ok(Self { seats: seats.into(), next: Arc::default() })
    }

    /// Number of streams.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a pool is never empty")]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// The stream with the fewest borrowers, one without work in flight if there
    /// is a choice. Never waits: a stream has several borrowers when there are
    /// more of them than streams.
    #[must_use]
    pub fn borrow(&self) -> BorrowedStream {
        let len = self.seats.len();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let load = |index: &usize| {
            let seat = &self.seats[*index];
            (seat.borrowers.load(Ordering::Relaxed), !seat.stream.queue().is_caught_up())
        };
        let order = (0..len).map(|i| start.wrapping_add(i) % len);
        let index = order.min_by_key(load).expect("a pool is never empty");
        self.seats[index].borrowers.fetch_add(1, Ordering::Relaxed);
        BorrowedStream { seats: Arc::clone(&self.seats), index }
    }
}

/// A stream of a [`StreamPool`], given back when dropped; its work goes on.
#[derive(Debug)]
pub struct BorrowedStream {
    seats: Arc<[Seat]>,
    index: usize,
}

impl Deref for BorrowedStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.seats[self.index].stream
    }
}

impl Drop for BorrowedStream {
    fn drop(&mut self) {
        self.seats[self.index].borrowers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn borrowers_get_streams_of_their_own_while_there_are_some() {
        let pool = StreamPool::new(&Device::cpu(), 4).unwrap();
        let mut borrowed: Vec<BorrowedStream> = (0..4).map(|_| pool.borrow()).collect();
        for (i, stream) in borrowed.iter().enumerate() {
            assert!(borrowed[..i].iter().all(|other| **other != **stream));
        }
        let freed = borrowed.remove(2).index;
        assert_eq!(pool.borrow().index, freed);
        let others: Vec<BorrowedStream> = (0..5).map(|_| pool.borrow()).collect();
        let most = pool.seats.iter().map(|seat| seat.borrowers.load(Ordering::Relaxed)).max();
        assert_eq!((pool.len(), most), (4, Some(2)));
        drop((others, borrowed));
        assert!(pool.seats.iter().all(|seat| seat.borrowers.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn priorities_above_the_highest_are_refused() {
        let device = Device::cpu();
        let max = device.stream_priority_max().unwrap();
        assert!(device.stream_with_priority(max).is_ok());
        let error = StreamPool::with_priority(&device, 2, max + 1).unwrap_err();
        assert!(matches!(error, crate::Error::StreamPriority { .. }), "{error}");
        assert!(error.to_string().contains("expected 0 to 5"), "{error}");
    }
}
