//! Looking for what went wrong in a queue's work: in its own launches, in graphs that
//! were replayed on it, in work of other queues that its own has used, and with other
//! devices that it copied from.
//!
//! Each of these is known by number: a launch by the tag in its panic's record, a
//! replay by the list of its graph, other work by the uses that memory notes. So an
//! error is told to the work that it concerns and to no other.
//!
//! Invariant: one thread of a device harvests at a time, and what it has found is in
//! the error logs before the place where it was found looks empty.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::device::Device;
use crate::panics::{GraphSlot, Harvest, KernelIndex, LaunchTag};
use crate::queue::Queue;
use crate::sync::lock;
use crate::timeline::{StreamId, Use};

/// Where a queue's errors come from, beside its own launches.
#[derive(Default)]
pub(crate) struct Sources {
    /// Graphs with replays here whose end was not seen.
    graphs: Vec<Arc<GraphSlot>>,
    dependences: Vec<Dependence>,
    lenders: Vec<Lender>,
}

/// A device whose memory was copied from.
struct Lender {
    device: Device,
    /// The queue there that stands for the copy.
    stream: StreamId,
    /// Number of the copy here.
    at: u64,
}

/// Work here that uses what unfinished work of another queue leaves.
#[derive(Clone, Copy)]
struct Dependence {
    on: Use,
    /// The other work, from this number to that of `on`: one, as long as there are not
    /// too many dependences.
    from: u64,
    /// Number of the first work here.
    at: u64,
    /// How many errors the other queue had had: those that concern this work are told.
    serial: u64,
}

/// Dependences of one queue that are kept apart.
const DEPENDENCES_MAX: usize = 64;

impl Queue {
    /// What the next launch is told. The caller holds the queue's lock.
    #[inline]
    pub(crate) fn next_tag(&self, kernel: KernelIndex) -> LaunchTag {
        let panics = self.panics.as_ref().expect("queues of a GPU have a panic record");
        panics.tag(self.enqueued.load(Ordering::Relaxed) + 1, kernel)
    }

    /// Notes that a graph is about to be replayed. The caller holds the queue's lock.
    pub(crate) fn note_replay(&self, graph: &Arc<GraphSlot>) {
        if !graph.begin(self.id, self.enqueued.load(Ordering::Relaxed) + 1) {
            return;
        }
        let mut sources = lock(&self.sources);
        if !sources.graphs.iter().any(|known| Arc::ptr_eq(known, graph)) {
            sources.graphs.push(Arc::clone(graph));
        }
        self.has_sources.store(true, Ordering::Release);
    }

    /// Notes that the next work here uses what `on` leaves, of another queue that has
    /// had `serial` errors. The caller holds the queue's lock.
    pub(crate) fn depend_on(&self, on: Use, serial: u64) {
        let at = self.enqueued.load(Ordering::Relaxed) + 1;
        let mut sources = lock(&self.sources);
        let is_full = sources.dependences.len() >= DEPENDENCES_MAX;
        let mut known = sources.dependences.iter_mut().filter(|known| known.on.stream == on.stream);
        match known.next_back() {
            // Rather an error too many than a list without an end.
            Some(known) if is_full => {
                known.from = known.from.min(on.sequence);
                known.on.sequence = known.on.sequence.max(on.sequence);
            }
            _ => sources.dependences.push(Dependence { on, from: on.sequence, at, serial }),
        }
        self.has_sources.store(true, Ordering::Release);
    }

    /// Notes that work number `at`, a copy, reads memory of another device, for which
    /// `stream` stands there.
    pub(crate) fn borrow_from(&self, device: &Device, stream: StreamId, at: u64) {
        lock(&self.sources).lenders.push(Lender { device: device.clone(), stream, at });
        self.has_sources.store(true, Ordering::Release);
    }

    /// Notes what went wrong in work up to number `completed`, which has ended.
    pub(crate) fn harvest(&self, harvest: &Harvest<'_>, completed: u64) {
        if let Some(panics) = &self.panics {
            // A launch is under way before its number is counted.
            let next = self.enqueued.load(Ordering::Acquire) + 1;
            panics.harvest(harvest, &self.errors, next);
        }
        let graphs = lock(&self.sources).graphs.clone();
        for graph in graphs {
            if !graph.harvest(harvest, self.id, completed) {
                self.forget_graph(&graph);
            }
        }
        // Taken out one by one: two queues may have used each other's memory.
        while let Some(dependence) = self.take_dependence(completed) {
            self.ask_other(harvest, dependence);
        }
        while let Some(lender) = self.take_lender(completed) {
            self.ask_lender(&lender);
        }
        let sources = lock(&self.sources);
        let is_quiet = sources.graphs.is_empty() && sources.dependences.is_empty();
        if is_quiet && sources.lenders.is_empty() {
            self.has_sources.store(false, Ordering::Release);
        }
    }

    /// Forgets a graph unless it was replayed again meanwhile.
    fn forget_graph(&self, graph: &Arc<GraphSlot>) {
        let mut sources = lock(&self.sources);
        if !graph.has_replays_on(self.id) {
            sources.graphs.retain(|known| !Arc::ptr_eq(known, graph));
        }
    }

    fn take_dependence(&self, completed: u64) -> Option<Dependence> {
        let mut sources = lock(&self.sources);
        let position = sources.dependences.iter().position(|known| known.at <= completed)?;
        Some(sources.dependences.remove(position))
    }

    fn take_lender(&self, completed: u64) -> Option<Lender> {
        let mut sources = lock(&self.sources);
        let position = sources.lenders.iter().position(|lender| lender.at <= completed)?;
        Some(sources.lenders.remove(position))
    }

    /// Notes here whether the other device was lost: a copy from it ends all the same,
    /// with whatever the memory held.
    fn ask_lender(&self, Lender { device, stream, at }: &Lender) {
        let raw = device.queue(*stream).raw.as_ref();
        if let Some(Err(error)) = raw.map(raddle_cuda::Stream::is_idle)
            && error.is_sticky()
        {
            device.lose(error, device.suspect());
        }
        if let Some(error) = device.inner().lost() {
            self.errors.push(at - 1, *at, error);
        }
    }

    /// Notes here what went wrong in the other queue's work, which has ended before.
    fn ask_other(&self, harvest: &Harvest<'_>, Dependence { on, from, at, serial }: Dependence) {
        let other = harvest.device.queue(on.stream);
        other.harvest(harvest, on.sequence);
        for error in other.errors.concerning(from..=on.sequence, Some(serial), false) {
            self.errors.push(at - 1, at, error);
        }
    }
}
