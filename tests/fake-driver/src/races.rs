//! Which work comes after which, by vector clocks, and uses of the same bytes
//! that nothing orders.
//!
//! Each stream counts its work. A clock says for every stream up to which number
//! its work is known to come before: a stream's clock grows by its own work, by
//! the events it waits for, and by what the host has seen completed before it
//! enqueued the work. Two uses of the same bytes, one of them a write, are a race
//! if the clock of the later enqueued one does not reach the earlier one.
//!
//! The host's threads are taken as one: what any of them has seen completed is
//! known to all. So a race between work of two host threads can be missed, but
//! every race reported is one.

/// Up to which number the work of each stream comes before something.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock(Vec<u64>);

impl Clock {
    pub(crate) fn get(&self, stream: usize) -> u64 {
        self.0.get(stream).copied().unwrap_or(0)
    }

    pub(crate) fn raise(&mut self, stream: usize, number: u64) {
        if self.0.len() <= stream {
            self.0.resize(stream + 1, 0);
        }
        self.0[stream] = self.0[stream].max(number);
    }

    pub(crate) fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (mine, &theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(theirs);
        }
    }

    /// Whether everything in `other` is in this clock.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(stream, &number)| self.get(stream) >= number)
    }
}

/// One use of bytes by enqueued work.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) stream: usize,
    pub(crate) number: u64,
    pub(crate) is_write: bool,
    /// What the work is, for the report.
    pub(crate) what: &'static str,
}

/// The uses of one range of memory that later ones may conflict with.
#[derive(Debug, Default)]
pub(crate) struct History(Vec<Use>);

/// From this many uses on, those that the host knows to have ended are dropped.
const PRUNE_AT: usize = 24;

impl History {
    /// Notes a use and gives an earlier one that it races with.
    pub(crate) fn note(&mut self, new: Use, clock: &Clock, host: &Clock) -> Option<Use> {
        let overlaps = |old: &Use| old.start < new.end && new.start < old.end;
        let conflict = self.0.iter().find(|old| {
            let is_ordered = old.stream == new.stream || clock.get(old.stream) >= old.number;
            overlaps(old) && (old.is_write || new.is_write) && !is_ordered
        });
        let conflict = conflict.cloned();
        // What the new use covers and comes after is ordered through it.
        self.0.retain(|old| {
            let is_covered = new.start <= old.start && old.end <= new.end;
            let is_replaced = new.is_write || (!old.is_write && old.stream == new.stream);
            !(is_covered && is_replaced)
        });
        if self.0.len() >= PRUNE_AT {
            self.0.retain(|old| host.get(old.stream) < old.number);
        }
        self.0.push(new);
        conflict
    }

    /// Forgets what lies wholly in `start..end`.
    pub(crate) fn forget(&mut self, start: u64, end: u64) {
        self.0.retain(|old| old.start < start || end < old.end);
    }
}
