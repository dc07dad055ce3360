//! Which threads of a cluster may run, which look again from time to time, and
//! the barriers and exchanges that the others wait at.
//!
//! Invariant: a live thread that has started is the running one, or in `ready`,
//! or in `polling`, or waits in a barrier or meeting that will move it to
//! `ready`.

use crate::barrier::Barrier;
use crate::meeting::Meetings;
use crate::random::Random;
use crate::threads::{self, WORD};

/// Who may run and what the others wait for.
pub(crate) struct State {
    /// Threads that can go on.
    pub ready: Box<[u64]>,
    /// Threads that look again whether they can go on.
    pub polling: Box<[u64]>,
    pub blocks: Box<[Block]>,
    pub cluster_barrier: Barrier,
    /// Threads that have not exited.
    pub live: Box<[u64]>,
    pub live_count: u32,
    /// Counts everything that may let a polling thread go on.
    pub events: u64,
    /// `events` when the polling threads last looked.
    polled_events: u64,
    /// Whether a thread has yielded since then.
    pub has_yielded: bool,
    /// Looks since the last event.
    idle_rounds: u32,
    random: Option<Random>,
    last: usize,
    picks_since_poll: usize,
}

/// The barriers and warp operations of one block.
pub(crate) struct Block {
    /// The barriers up to the highest that the kernel has used.
    pub barriers: Vec<Barrier>,
    pub meetings: Meetings,
    pub live_count: u32,
}

impl Block {
    /// Barrier `id`, whose sets have `words` words.
    pub fn barrier(&mut self, id: u32, words: usize) -> &mut Barrier {
        while self.barriers.len() <= id as usize {
            self.barriers.push(Barrier::new(words));
        }
        &mut self.barriers[id as usize]
    }
}

impl State {
    /// The state of a cluster of `blocks` blocks, each of `block_words` words.
    pub fn new(block_words: usize, blocks: u32) -> Self {
        let words = block_words * blocks as usize;
        let empty = || vec![0; words].into_boxed_slice();
        let block = |_| Block { barriers: vec![], meetings: Meetings::default(), live_count: 0 };
        Self {
            ready: empty(),
            polling: empty(),
            blocks: (0..blocks).map(block).collect(),
            cluster_barrier: Barrier::new(words),
            live: empty(),
            live_count: 0,
            events: 1,
            polled_events: 0,
            has_yielded: false,
            idle_rounds: 0,
            random: None,
            last: 0,
            picks_since_poll: 0,
        }
    }

    /// Makes all threads ready to be started.
    pub fn reset(&mut self, block_words: usize, block_threads: u32, random: Option<Random>) {
        self.live.fill(0);
        self.polling.fill(0);
        for (words, block) in self.live.chunks_mut(block_words).zip(&mut self.blocks) {
            threads::insert_first(words, block_threads as usize);
            block.live_count = block_threads;
            block.barriers.iter_mut().for_each(Barrier::reset);
            block.meetings.reset();
        }
        self.live_count = block_threads * self.blocks.len() as u32;
        self.ready.copy_from_slice(&self.live);
        self.cluster_barrier.reset();
        self.events += 1;
        self.random = random;
        self.last = self.ready.len() * WORD - 1;
        self.picks_since_poll = 0;
    }

    /// Takes the next thread that can run; `None` if all wait in vain.
    ///
    /// Polling threads look again when nobody else can run, and every so often
    /// while others can, so that nobody waits for ever for want of a turn.
    pub fn pick(&mut self) -> Option<usize> {
        self.picks_since_poll += 1;
        let mut picked = self.next_ready();
        // A shuffled schedule lets them look at any time.
        let is_early = self.random.as_mut().is_some_and(|random| random.below(8) == 0);
        if picked.is_none() || is_early || self.picks_since_poll > POLL_PICKS {
            self.picks_since_poll = 0;
            if self.is_worth_polling() {
                self.polled_events = self.events;
                self.has_yielded = false;
                threads::drain_into(&mut self.polling, &mut self.ready);
                picked = picked.or_else(|| self.next_ready());
            }
        }
        let thread = picked?;
        threads::remove(&mut self.ready, thread);
        self.last = thread;
        Some(thread)
    }

    /// Whether looking again may show something new: after an event, and for a
    /// number of rounds after threads have merely yielded.
    fn is_worth_polling(&mut self) -> bool {
        if self.events != self.polled_events {
            self.idle_rounds = 0;
            return true;
        }
        self.idle_rounds += 1;
        self.has_yielded && self.idle_rounds <= SPIN_ROUNDS
    }

    /// Makes every polling thread look again although nothing has happened here.
    pub fn poll_again(&mut self) {
        threads::drain_into(&mut self.polling, &mut self.ready);
        self.idle_rounds = 0;
    }

    /// Takes the next thread if it comes in turn and `is_wanted`.
    pub fn pick_if(&mut self, is_wanted: impl Fn(usize) -> bool) -> Option<usize> {
        if self.random.is_some() || self.picks_since_poll > POLL_PICKS {
            return None;
        }
        let thread = self.next_ready().filter(|&thread| is_wanted(thread))?;
        self.picks_since_poll += 1;
        threads::remove(&mut self.ready, thread);
        self.last = thread;
        Some(thread)
    }

    fn next_ready(&mut self) -> Option<usize> {
        let threads = self.ready.len() * WORD;
        let start = match &mut self.random {
            Some(random) => random.below(threads),
            None if self.last + 1 == threads => 0,
            None => self.last + 1,
        };
        threads::next_from(&self.ready, start)
    }
}

/// Barriers of a block (PTX ISA, `barrier`).
pub(crate) const BARRIERS: usize = 16;
/// Switches after which polling threads get a turn in any case.
const POLL_PICKS: usize = 4096;
/// Times that yielding threads run with no other event before the cluster
/// counts as stalled.
const SPIN_ROUNDS: u32 = 64;
