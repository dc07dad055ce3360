//! The engine as the threads of a synchronising kernel see it: each call changes
//! the cluster's state and, if it has to wait, switches to the scheduler.
//!
//! A thread that is unwinding (from a panic or because the launch has failed)
//! waits for nobody: the calls return at once, with the caller as the only
//! participant.

use raddle_device::host::{Engine, SharedKey};

use crate::barrier::{Arrival, Live, Refused};
use crate::cluster::{Cluster, Wait};
use crate::fault::{BarrierMisuse, Fault, SharedMisuse, Site, WarpMisuse};
use crate::launch::WARP;
use crate::meeting::{Lanes, Offer};
use crate::schedule::{BARRIERS, State};
use crate::threads::{self, WORD};

impl Engine for Cluster {
    fn barrier(&self, id: u32, threads: Option<u32>, at: Site) {
        if is_unwinding() {
            return;
        }
        let call = self.barrier_call(id, threads, at);
        self.arrive(id, Arrival { waits: true, ..call });
    }

    fn barrier_arrive(&self, id: u32, threads: u32, at: Site) {
        if is_unwinding() {
            return;
        }
        let call = self.barrier_call(id, Some(threads), at);
        self.arrive(id, call);
    }

    fn barrier_count(&self, id: u32, value: bool, at: Site) -> (u32, u32) {
        if is_unwinding() {
            return (u32::from(value), 1);
        }
        let call = self.barrier_call(id, None, at);
        self.arrive(id, Arrival { vote: Some(value), waits: true, ..call });
        let rank = self.locate(self.running.get()).0 as usize;
        self.state.borrow().blocks[rank].barriers[id as usize].last_vote()
    }

    fn warp_collect(&self, mask: u32, payload: &[u8], all: &mut [u8], at: Site) -> u32 {
        let in_block = self.locate(self.running.get()).1;
        let (warp, lane) = ((in_block / WARP) as usize, in_block % WARP);
        if mask >> lane & 1 == 0 && !is_unwinding() {
            self.fail_warp(WarpMisuse::CallerNotInMask { lane }, mask, at);
        }
        self.collect(Lanes::Warp { warp, mask }, payload, all, at)
    }

    fn group_collect(&self, warps: u32, payload: &[u8], all: &mut [u8], at: Site) {
        if !(1..=32).contains(&warps) && !is_unwinding() {
            self.fail_warp(WarpMisuse::Warps { found: warps }, u32::MAX, at);
        }
        let warp = self.locate(self.running.get()).1 / WARP;
        let first = (warp / warps.max(1) * warps) as usize;
        self.collect(Lanes::Warps { first, count: warps as usize }, payload, all, at);
    }

    fn wait_until(&self, what: &'static str, ready: &mut dyn FnMut() -> bool, at: Site) {
        if ready() || is_unwinding() {
            return;
        }
        let thread = self.running.get();
        loop {
            self.slots[thread].wait.set(Wait::Until { what, at });
            threads::insert(&mut self.state.borrow_mut().polling, thread);
            self.switch(thread);
            if ready() {
                self.state.borrow_mut().events += 1;
                return;
            }
        }
    }

    fn yield_now(&self) {
        if is_unwinding() {
            return;
        }
        // A thread that reads an atomic yields, for it may be spinning; only
        // one that goes on doing so is worth a switch.
        self.yields.set(self.yields.get() + 1);
        if self.yields.get() < YIELDS_PER_SWITCH && !self.is_shuffled() {
            return;
        }
        let thread = self.running.get();
        self.slots[thread].wait.set(Wait::Yielded);
        {
            let mut state = self.state.borrow_mut();
            state.has_yielded = true;
            threads::insert(&mut state.polling, thread);
        }
        self.switch(thread);
    }

    fn shared_static(&self, key: SharedKey, bytes: usize, align: usize) -> *mut u8 {
        let rank = self.locate(self.running.get()).0;
        let variable = self.shared.variable(rank, key, bytes, align);
        variable.unwrap_or_else(|reason| self.fail_shared(reason))
    }

    fn shared_dynamic(&self) -> (*mut u8, usize) {
        self.shared.dynamic(self.locate(self.running.get()).0)
    }

    fn cluster_map(&self, address: *mut u8, rank: u32) -> *mut u8 {
        let from = self.locate(self.running.get()).0;
        let mapped = self.shared.map(from, address, rank);
        mapped.unwrap_or_else(|reason| self.fail_shared(reason))
    }

    fn cluster_barrier(&self, is_one_place: bool, at: Site) {
        if is_unwinding() {
            return;
        }
        let thread = self.running.get();
        self.slots[thread].wait.set(Wait::ClusterBarrier { at });
        let (weight, threads, vote) = (1, None, None);
        let arrival = Arrival { thread, weight, threads, is_one_place, vote, waits: true, at };
        let arrived = {
            let state = &mut *self.state.borrow_mut();
            let live = Live { set: &state.live, count: state.live_count };
            let arrived = state.cluster_barrier.arrive(&arrival, live);
            if let Ok(true) = arrived {
                state.cluster_barrier.release(&mut state.ready);
                state.events += 1;
            }
            arrived
        };
        self.finish_arrival(arrived, &arrival, 0);
    }

    fn print(&self, text: &str) {
        self.lines.push(self.running.get(), text);
    }

    fn is_hopper(&self) -> bool {
        self.options.is_hopper
    }
}

impl Cluster {
    /// The running thread's arrival at barrier `id`, with number and count
    /// checked. A count of all warps means the whole block.
    fn barrier_call(&self, id: u32, threads: Option<u32>, at: Site) -> Arrival {
        if id as usize >= BARRIERS {
            self.fail_barrier(BarrierMisuse::Id, id, at);
        }
        let block_threads = self.shape.block_threads;
        let max = block_threads.next_multiple_of(WARP);
        let is_one_place = threads.is_none();
        let threads = match threads {
            Some(found) if found == 0 || found % WARP != 0 || found > max => {
                self.fail_barrier(BarrierMisuse::ThreadCount { found, max }, id, at)
            }
            threads => threads.filter(|&threads| threads != max),
        };
        let (_, thread) = self.locate(self.running.get());
        let is_last = thread + 1 == block_threads;
        let weight = if is_last { WARP - thread % WARP } else { 1 };
        let thread = thread as usize;
        Arrival { thread, weight, threads, is_one_place, vote: None, waits: false, at }
    }

    /// The running thread's arrival at barrier `id` of its block.
    fn arrive(&self, id: u32, arrival: Arrival) {
        let thread = self.running.get();
        let (rank, at) = (self.locate(thread).0, arrival.at);
        self.slots[thread].wait.set(Wait::Barrier { id, at });
        let arrived = {
            let state = &mut *self.state.borrow_mut();
            let words = self.words(rank);
            let State { live, ready, blocks, .. } = state;
            let block = &mut blocks[rank as usize];
            let live = Live { set: &live[words.clone()], count: block.live_count };
            let barrier = block.barrier(id, words.len());
            let arrived = barrier.arrive(&arrival, live);
            if let Ok(true) = arrived {
                barrier.release(&mut ready[words]);
                state.events += 1;
            }
            arrived
        };
        self.finish_arrival(arrived, &arrival, id);
    }

    /// Waits, goes on or fails after an arrival at a barrier.
    fn finish_arrival(&self, arrived: Result<bool, Refused>, arrival: &Arrival, id: u32) {
        let thread = self.running.get();
        match arrived {
            Ok(false) if arrival.waits => self.switch(thread),
            Ok(true) if self.is_shuffled() => {
                // The last to arrive is no more entitled to go first than others.
                threads::insert(&mut self.state.borrow_mut().ready, thread);
                self.switch(thread);
            }
            Ok(_) => self.slots[thread].wait.set(Wait::Nothing),
            Err(Refused::Divergent) => self.fail(self.stall_fault(0)),
            Err(Refused::Misuse(reason)) => self.fail_barrier(reason, id, arrival.at),
        }
    }

    /// The running thread's part in an exchange over `lanes`.
    fn collect(&self, lanes: Lanes, payload: &[u8], all: &mut [u8], at: Site) -> u32 {
        let thread = self.running.get();
        let (rank, in_block) = self.locate(thread);
        if is_unwinding() {
            let start = lanes.index_of(in_block as usize) * payload.len();
            if let Some(own) = all.get_mut(start..start + payload.len()) {
                own.copy_from_slice(payload);
            }
            return 1 << (in_block % WARP);
        }
        let offer = Offer::new(in_block as usize, payload, all);
        self.slots[thread].wait.set(Wait::Lanes { lanes, at });
        let joined = {
            let state = &mut *self.state.borrow_mut();
            let words = self.words(rank);
            let block = &mut state.blocks[rank as usize];
            let live = &state.live[words.clone()];
            let joined = block.meetings.join(lanes, at, payload.len(), offer, live);
            joined.map(|complete| {
                complete.map(|index| {
                    state.events += 1;
                    let ready = &mut state.ready[words.clone()];
                    let mask = block.meetings.complete(index, |other, mask| {
                        threads::insert(ready, other);
                        self.slots[words.start * WORD + other].took_part.set(mask);
                    });
                    if !self.is_shuffled() {
                        threads::remove(ready, in_block as usize);
                    }
                    mask
                })
            })
        };
        match joined {
            Ok(Some(mask)) if !self.is_shuffled() => {
                self.slots[thread].wait.set(Wait::Nothing);
                mask
            }
            Ok(_) => {
                self.switch(thread);
                self.slots[thread].took_part.get()
            }
            Err(reason) => self.fail_warp(reason, lanes.mask(), at),
        }
    }

    fn is_shuffled(&self) -> bool {
        self.options.seed.is_some()
    }

    /// The words of the block of rank `rank` in sets of the cluster's threads.
    pub fn words(&self, rank: u32) -> std::ops::Range<usize> {
        let start = rank as usize * self.block_words;
        start..start + self.block_words
    }

    #[cold]
    fn fail_barrier(&self, reason: BarrierMisuse, id: u32, at: Site) -> ! {
        let (block, thread) = self.coordinates(self.running.get());
        self.fail(Fault::Barrier { reason, id, at, block, thread })
    }

    #[cold]
    fn fail_warp(&self, reason: WarpMisuse, mask: u32, at: Site) -> ! {
        let (block, thread) = self.coordinates(self.running.get());
        self.fail(Fault::WarpMask { reason, mask, at, block, thread })
    }

    #[cold]
    fn fail_shared(&self, reason: SharedMisuse) -> ! {
        let (block, _) = self.coordinates(self.running.get());
        self.fail(Fault::SharedMemory { reason, block })
    }
}

/// Calls of `yield_now` in one turn of a thread that make one switch.
const YIELDS_PER_SWITCH: u32 = 8;

/// Whether the running thread is on its way out: after a panic or because the
/// launch has failed.
fn is_unwinding() -> bool {
    std::thread::panicking()
}
