//! A rendezvous of lanes that exchange values: the one mechanism behind
//! shuffles, votes, `mma.sync` and `wgmma`.
//!
//! Each lane leaves pointers to its own value and to its place for everybody's
//! values, both on its suspended stack; the last one to arrive copies them all,
//! so that nothing has to be kept for late readers.

use crate::barrier::is_same_site;
use crate::fault::{Site, WarpMisuse};
use crate::threads;

/// Lanes on their way to one exchange.
pub(crate) struct Meeting {
    lanes: Lanes,
    at: Site,
    payload_bytes: usize,
    offers: Vec<Offer>,
}

/// Which threads of a block meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// Lanes of one warp.
    Warp { warp: usize, mask: u32 },
    /// All lanes of consecutive warps.
    Warps { first: usize, count: usize },
}

/// What one thread brings: pointers into its stack, valid while it waits.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    /// The thread within the block.
    pub thread: usize,
    payload: *const u8,
    all: *mut u8,
    all_bytes: usize,
}

impl Offer {
    /// The offer of `thread`.
    pub fn new(thread: usize, payload: &[u8], all: &mut [u8]) -> Self {
        Self { thread, payload: payload.as_ptr(), all: all.as_mut_ptr(), all_bytes: all.len() }
    }
}

impl Lanes {
    /// The first thread of the block that the results are numbered from.
    fn first_thread(self) -> usize {
        32 * match self {
            Self::Warp { warp, .. } => warp,
            Self::Warps { first, .. } => first,
        }
    }

    /// Where the value of `thread` of the block stands in the results.
    pub fn index_of(self, thread: usize) -> usize {
        thread - self.first_thread()
    }

    /// Values in the results.
    fn len(self) -> usize {
        match self {
            Self::Warp { .. } => 32,
            Self::Warps { count, .. } => 32 * count,
        }
    }

    /// Whether a thread could be in both.
    fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Warp { warp, mask }, Self::Warp { warp: other, mask: other_mask }) => {
                warp == other && mask & other_mask != 0
            }
            _ => {
                let (a, b) = (self.first_thread(), other.first_thread());
                a < b + other.len() && b < a + self.len()
            }
        }
    }

    /// The lanes in one warp, for messages.
    pub fn mask(self) -> u32 {
        match self {
            Self::Warp { mask, .. } => mask,
            Self::Warps { .. } => u32::MAX,
        }
    }

    /// How many threads of `live` are meant.
    fn live(self, live: &[u64]) -> usize {
        let lanes = |warp: usize| {
            if warp / 2 < live.len() { threads::warp(live, warp) } else { 0 }
        };
        match self {
            Self::Warp { warp, mask } => (lanes(warp) & mask).count_ones() as usize,
            Self::Warps { first, count } => {
                (first..first + count).map(|warp| lanes(warp).count_ones() as usize).sum()
            }
        }
    }
}

/// The meetings of one block that are under way.
#[derive(Default)]
pub(crate) struct Meetings {
    open: Vec<Meeting>,
    spare: Vec<Vec<Offer>>,
}

impl Meetings {
    /// Forgets everything, for the next block.
    pub fn reset(&mut self) {
        self.open.clear();
    }

    /// Joins the meeting of `lanes`, opening it if need be. Returns its number
    /// if that completes it; [`Self::complete`] must follow.
    pub fn join(
        &mut self,
        lanes: Lanes,
        at: Site,
        payload_bytes: usize,
        offer: Offer,
        live: &[u64],
    ) -> Result<Option<usize>, WarpMisuse> {
        let needed = lanes.len() * payload_bytes;
        if offer.all_bytes < needed {
            return Err(WarpMisuse::ResultBytes { needed, found: offer.all_bytes });
        }
        let is_met = |meeting: &Meeting| meeting.is_met_by(lanes, offer.thread / 32);
        let index = match self.open.iter().position(is_met) {
            Some(index) => {
                self.open[index].check(lanes, at, payload_bytes)?;
                index
            }
            None => {
                let offers = self.spare.pop().unwrap_or_default();
                self.open.push(Meeting { lanes, at, payload_bytes, offers });
                self.open.len() - 1
            }
        };
        let meeting = &mut self.open[index];
        meeting.offers.push(offer);
        Ok((meeting.offers.len() == lanes.live(live)).then_some(index))
    }

    /// A meeting that has become complete because a thread exited.
    pub fn find_complete(&self, live: &[u64]) -> Option<usize> {
        self.open.iter().position(|meeting| meeting.offers.len() == meeting.lanes.live(live))
    }

    /// Hands everybody's values to everybody, calls `release` for each thread
    /// and returns the mask of those in the first warp.
    pub fn complete(&mut self, index: usize, mut release: impl FnMut(usize, u32)) -> u32 {
        let mut meeting = self.open.swap_remove(index);
        let mask = meeting.deliver();
        for offer in &meeting.offers {
            release(offer.thread, mask);
        }
        meeting.offers.clear();
        self.spare.push(meeting.offers);
        mask
    }
}

impl Meeting {
    /// Whether a thread of `warp` that wants to meet `lanes` meets here, or should have
    /// before: a warp that is to meet others may have operations of its own first.
    fn is_met_by(&self, lanes: Lanes, warp: usize) -> bool {
        self.lanes == lanes
            || self.lanes.overlaps(lanes)
                && match self.lanes {
                    Lanes::Warp { warp: other, .. } => other == warp,
                    Lanes::Warps { .. } => {
                        self.offers.iter().any(|offer| offer.thread / 32 == warp)
                    }
                }
    }

    fn check(&self, lanes: Lanes, at: Site, payload_bytes: usize) -> Result<(), WarpMisuse> {
        if self.lanes != lanes {
            let other_mask = self.lanes.mask();
            return Err(WarpMisuse::Overlap { other_mask, other_at: self.at });
        }
        if !is_same_site(self.at, at) {
            return Err(WarpMisuse::OtherSite { other_at: self.at });
        }
        if self.payload_bytes != payload_bytes {
            let (found, first) = (payload_bytes, self.payload_bytes);
            return Err(WarpMisuse::PayloadBytes { found, first });
        }
        Ok(())
    }

    /// Copies every value to every participant; returns the participants of the
    /// first warp.
    fn deliver(&mut self) -> u32 {
        let (bytes, base) = (self.payload_bytes, self.lanes.first_thread());
        self.offers.sort_unstable_by_key(|offer| offer.thread);
        let mut mask = 0;
        for offer in &self.offers {
            if offer.thread - base < 32 {
                mask |= 1 << (offer.thread - base);
            }
        }
        let Some((gather, others)) = self.offers.split_first() else { return mask };
        for offer in &self.offers {
            // SAFETY: `join` checked that `all` holds a value for each lane; the
            // payload and `all` are distinct borrows of waiting threads.
            unsafe {
                let slot = gather.all.add((offer.thread - base) * bytes);
                slot.copy_from_nonoverlapping(offer.payload, bytes);
            }
        }
        for other in others {
            for run in self.offers.chunk_by(|a, b| a.thread + 1 == b.thread) {
                let start = (run[0].thread - base) * bytes;
                // SAFETY: as above; two threads' results are distinct borrows.
                unsafe {
                    let to = other.all.add(start);
                    to.copy_from_nonoverlapping(gather.all.add(start), run.len() * bytes);
                }
            }
        }
        mask
    }
}
