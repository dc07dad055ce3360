//! What free memory still waits for: the last work of each stream that used it.
//!
//! A free range may be handed to a stream when each of its points has ended, is
//! of that stream (program order does the rest), or has been waited for on the
//! device. Joining two ranges joins their points, which may wait for too much
//! and never for too little.

use crate::device::Device;
use crate::timeline::StreamId;

/// Work number `sequence` of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stream: StreamId,
    pub(crate) sequence: u64,
}

/// How a point looks to the stream that wants the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The work has ended, whoever asks.
    Ended,
    /// The work comes before anything that the asking stream enqueues.
    Before,
    /// The work may be under way.
    UnderWay,
}

/// At most one point of each stream, sorted by stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending(Vec<Point>);

impl Pending {
    pub(crate) fn of(points: impl IntoIterator<Item = Point>) -> Self {
        let mut pending = Self::default();
        for point in points {
            pending.add(point);
        }
        pending
    }

    pub(crate) fn add(&mut self, point: Point) {
        match self.0.binary_search_by_key(&point.stream, |old| old.stream) {
            Ok(at) => self.0[at].sequence = self.0[at].sequence.max(point.sequence),
            Err(at) => self.0.insert(at, point),
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for &point in &other.0 {
            self.add(point);
        }
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.0
    }

    /// Whether nothing is waited for.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets the points that have ended; whether the asking stream may have the
    /// memory now.
    pub(crate) fn prune(&mut self, state: &mut dyn FnMut(Point) -> State) -> bool {
        let mut is_ready = true;
        self.0.retain(|&point| match state(point) {
            State::Ended => false,
            State::Before => true,
            State::UnderWay => {
                is_ready = false;
                true
            }
        });
        is_ready
    }

    /// Whether all work has ended on the device, which is asked if it is not known.
    pub(crate) fn has_ended(&self, device: &Device) -> bool {
        self.0.iter().all(|point| {
            let queue = device.queue(point.stream);
            queue.raw.is_none()
                || queue.signal.completed() >= point.sequence
                || queue.probe_ended() >= point.sequence
        })
    }

    /// Whether both wait for the same streams, so that joining them costs nobody
    /// anything.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(a, b)| a.stream == b.stream)
    }
}
