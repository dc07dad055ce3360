//! One barrier: who has arrived in its present phase and who waits.
//!
//! Only counting, no scheduling; the same type serves the sixteen barriers of a
//! block and the one of a cluster. A whole-group barrier is complete when every
//! thread has arrived or exited; a counted one when its number of arrivals is
//! reached.

use crate::fault::{BarrierMisuse, Site};
use crate::threads;

/// A barrier over a group of threads.
pub(crate) struct Barrier {
    phase: Option<Phase>,
    arrived: Box<[u64]>,
    waiting: Box<[u64]>,
    /// `(non-zero offers, threads)` of the last complete phase.
    last_vote: (u32, u32),
}

/// What the first arrival of a phase laid down, and the sums so far.
struct Phase {
    threads: Option<u32>,
    is_one_place: bool,
    is_vote: bool,
    at: Site,
    arrivals: u32,
    offers: u32,
    nonzero: u32,
}

/// One thread's arrival.
pub(crate) struct Arrival {
    /// The thread within the group.
    pub thread: usize,
    /// How much it counts for: more than one for the last lane of a warp that
    /// is not full, which stands for the missing lanes too.
    pub weight: u32,
    /// Arrivals that complete the phase, `None` for the whole group.
    pub threads: Option<u32>,
    /// Whether all threads of the phase must come from one place in the source.
    pub is_one_place: bool,
    /// What the thread offers at a reducing barrier.
    pub vote: Option<bool>,
    /// Whether it waits.
    pub waits: bool,
    /// Where.
    pub at: Site,
}

/// Why an arrival is refused.
pub(crate) enum Refused {
    /// It does not fit the phase.
    Misuse(BarrierMisuse),
    /// Threads reach a phase that must be one place from different lines.
    Divergent,
}

/// The threads of a group that have not exited.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    pub set: &'a [u64],
    /// Threads in the set.
    pub count: u32,
}

impl Barrier {
    /// A barrier for a group of `words` words of threads.
    pub fn new(words: usize) -> Self {
        let empty = || vec![0; words].into_boxed_slice();
        Self { phase: None, arrived: empty(), waiting: empty(), last_vote: (0, 0) }
    }

    /// Forgets everything, for the next group.
    pub fn reset(&mut self) {
        self.phase = None;
        self.arrived.fill(0);
        self.waiting.fill(0);
    }

    /// Counts an arrival; returns whether it completes the phase, in which case
    /// the arriving thread is not among the waiting ones.
    pub fn arrive(&mut self, arrival: &Arrival, live: Live<'_>) -> Result<bool, Refused> {
        let phase = self.phase.get_or_insert(Phase {
            threads: arrival.threads,
            is_one_place: arrival.is_one_place,
            is_vote: arrival.vote.is_some(),
            at: arrival.at,
            arrivals: 0,
            offers: 0,
            nonzero: 0,
        });
        phase.check(arrival)?;
        if !threads::insert(&mut self.arrived, arrival.thread) {
            return Err(Refused::Misuse(BarrierMisuse::ArrivedTwice));
        }
        phase.arrivals += arrival.weight;
        phase.offers += 1;
        phase.nonzero += u32::from(arrival.vote == Some(true));
        if self.is_complete(live) {
            return Ok(true);
        }
        if arrival.waits {
            threads::insert(&mut self.waiting, arrival.thread);
        }
        Ok(false)
    }

    /// Whether the present phase has all its arrivals.
    pub fn is_complete(&self, live: Live<'_>) -> bool {
        let Some(phase) = &self.phase else { return false };
        match phase.threads {
            Some(threads) => phase.arrivals >= threads,
            // The number tells early that the sets cannot match.
            None if phase.offers < live.count => false,
            None => {
                let mut sets = self.arrived.iter().zip(live.set);
                sets.all(|(arrived, live)| live & !arrived == 0)
            }
        }
    }

    /// Ends the phase and moves the waiting threads to `ready`.
    pub fn release(&mut self, ready: &mut [u64]) {
        if let Some(phase) = self.phase.take() {
            self.last_vote = (phase.nonzero, phase.offers);
        }
        self.arrived.fill(0);
        threads::drain_into(&mut self.waiting, ready);
    }

    /// The result of the last complete phase. It stands until every thread that
    /// took part arrives again.
    pub fn last_vote(&self) -> (u32, u32) {
        self.last_vote
    }
}

impl Phase {
    fn check(&self, arrival: &Arrival) -> Result<(), Refused> {
        if self.threads != arrival.threads {
            return Err(Refused::Misuse(BarrierMisuse::CountChanged {
                found: arrival.threads,
                first: self.threads,
                first_at: self.at,
            }));
        }
        if self.is_vote != arrival.vote.is_some() {
            return Err(Refused::Misuse(BarrierMisuse::KindChanged { first_at: self.at }));
        }
        if self.is_one_place && arrival.is_one_place && !is_same_site(self.at, arrival.at) {
            return Err(Refused::Divergent);
        }
        Ok(())
    }
}

/// Whether two locations are one place in the source; the same place may have
/// several `Location`s in memory.
pub(crate) fn is_same_site(a: Site, b: Site) -> bool {
    std::ptr::eq(a, b) || a == b
}
