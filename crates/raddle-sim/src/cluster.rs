//! One cluster of blocks (usually one block) while it runs: what each thread
//! waits for and who may run next. The engine (`engine.rs`) changes this state
//! from inside the threads, the runner (`runner.rs`) switches between them.
//!
//! Everything here stays on one OS thread. Threads are numbered through the
//! cluster; each block begins at a multiple of 64, so that its sets of threads
//! are whole words.
//!
//! Invariant: `state` is never borrowed across a switch.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use raddle_device::host::{Engine, ThreadContext};

use crate::barrier::{Barrier, Live};
use crate::fault::{Fault, Site, ThreadGroup, WaitGroup};
use crate::fibre::Yielder;
use crate::grid::Grid;
use crate::launch::{Launch, Shape};
use crate::meeting::{Lanes, Meetings};
use crate::options::Options;
use crate::panics::Watch;
use crate::print::Lines;
use crate::random::Random;
use crate::shared::SharedMemory;
use crate::threads::{self, WORD};

/// A cluster of blocks that run together.
pub(crate) struct Cluster {
    pub launch: Launch,
    pub shape: Shape,
    pub options: Options,
    /// Number of the cluster in the grid.
    pub number: Cell<u64>,
    /// Words of a block's thread sets.
    pub block_words: usize,
    pub slots: Box<[Slot]>,
    pub state: RefCell<State>,
    pub shared: SharedMemory,
    pub lines: Lines,
    pub watch: Rc<Watch>,
    /// The thread that runs.
    pub running: Cell<usize>,
    /// Times that it has yielded since it was last resumed.
    pub yields: Cell<u32>,
    /// Whether threads are to end at their next chance.
    pub is_cancelled: Cell<bool>,
    fault: RefCell<Option<Fault>>,
    panic: RefCell<Option<(usize, Fault)>>,
}

/// What belongs to one thread.
pub(crate) struct Slot {
    /// Rank of the thread's block in the cluster.
    pub rank: u32,
    /// Linear index of the thread in its block.
    pub in_block: u32,
    pub context: Cell<Option<ThreadContext>>,
    pub wait: Cell<Wait>,
    pub yielder: Cell<*const Yielder>,
    /// Lanes that took part in the thread's last warp operation.
    pub took_part: Cell<u32>,
}

/// What a thread is doing.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Unstarted,
    Nothing,
    Exited,
    Barrier { id: u32, at: Site },
    ClusterBarrier { at: Site },
    Lanes { lanes: Lanes, at: Site },
    Until { what: &'static str, at: Site },
    Yielded,
}

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
    pub barriers: Box<[Barrier]>,
    pub meetings: Meetings,
    pub live_count: u32,
}

/// What the scheduler is to do next.
pub(crate) enum Step {
    /// Run this thread.
    Run(usize),
    /// Every thread has exited.
    Done,
    /// Every thread waits, and looking again changed nothing.
    Stalled,
}

/// Ends a thread whose launch has failed; thrown past the panic hook.
struct Cancelled;

impl Cluster {
    /// A cluster of `launch`, to be [`reset`](Self::reset) before use.
    pub fn new(grid: &Grid<'_>, watch: Rc<Watch>) -> Result<Self, Fault> {
        let Grid { launch, shape, options, .. } = grid;
        let blocks = shape.cluster_blocks;
        let shared = SharedMemory::new(blocks, launch.dynamic_shared_bytes)
            .map_err(|reason| Fault::SharedMemory { reason, block: [0; 3] })?;
        let block_words = (shape.block_threads as usize).div_ceil(WORD);
        let words = block_words * blocks as usize;
        Ok(Self {
            launch: **launch,
            shape: *shape,
            options: **options,
            number: Cell::new(0),
            block_words,
            slots: (0..words * WORD).map(|thread| Slot::new(thread, block_words * WORD)).collect(),
            state: RefCell::new(State::new(words, block_words, blocks)),
            shared,
            lines: Lines::new(options.print),
            watch,
            running: Cell::new(0),
            yields: Cell::new(0),
            is_cancelled: Cell::new(false),
            fault: RefCell::default(),
            panic: RefCell::default(),
        })
    }

    /// Makes this cluster number `number` of the grid, with no thread started.
    pub fn reset(&self, number: u64) {
        self.number.set(number);
        self.is_cancelled.set(false);
        self.shared.reset();
        let seed = self.options.seed;
        let random = seed.map(|seed| Random::new(seed, number));
        self.state.borrow_mut().reset(self.block_words, self.shape.block_threads, random);
        for slot in &self.slots {
            slot.wait.set(Wait::Unstarted);
        }
    }

    /// Runs `thread` on the calling fibre from beginning to end.
    pub fn run_thread(&self, thread: usize, yielder: &Yielder) {
        let slot = &self.slots[thread];
        slot.yielder.set(yielder);
        slot.wait.set(Wait::Nothing);
        let (body, params) = (self.launch.body, self.launch.params);
        // SAFETY: the caller of `run` promised that the body may be called with
        // these parameters by each thread of the launch.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { body(params) }));
        if let Err(payload) = result
            && !payload.is::<Cancelled>()
        {
            self.note_panic(thread, &*payload);
        }
        self.lines.flush(thread);
        slot.wait.set(Wait::Exited);
        self.exit(thread);
    }

    /// Fills in where `thread` stands, before it starts; returns the context.
    pub fn place(&self, thread: usize, engine: *const dyn Engine) -> *const ThreadContext {
        let (rank, in_block) = self.locate(thread);
        let slot = &self.slots[thread];
        slot.context.set(Some(ThreadContext {
            thread: self.shape.thread_index(in_block),
            block: self.shape.block_index(self.number.get(), rank),
            block_dim: self.shape.block,
            grid_dim: self.shape.grid,
            cluster_dim: self.shape.cluster,
            engine,
        }));
        self.context(thread)
    }

    /// The context of a thread that has been placed.
    pub fn context(&self, thread: usize) -> *const ThreadContext {
        // SAFETY: only this OS thread uses the cell, and the reference ends here.
        let context = unsafe { &*self.slots[thread].context.as_ptr() };
        context.as_ref().map_or(std::ptr::null(), std::ptr::from_ref)
    }

    /// Gives the OS thread to the scheduler until `thread`, the running one, is
    /// resumed. The caller has noted what it waits for.
    pub fn switch(&self, thread: usize) {
        let slot = &self.slots[thread];
        // SAFETY: the yielder lives on the running fibre's stack.
        unsafe { &*slot.yielder.get() }.suspend(());
        slot.wait.set(Wait::Nothing);
        if self.is_cancelled.get() {
            self.end_thread();
        }
    }

    /// Ends the launch with `fault`, called by the running thread.
    #[cold]
    pub fn fail(&self, fault: Fault) -> ! {
        self.set_fault(fault);
        self.end_thread()
    }

    /// Notes `fault` unless there is one, and cancels the cluster.
    pub fn set_fault(&self, fault: Fault) {
        self.is_cancelled.set(true);
        self.fault.borrow_mut().get_or_insert(fault);
    }

    /// Ends the running thread without a panic message.
    pub fn end_thread(&self) -> ! {
        if cfg!(panic = "abort") {
            // Nothing can unwind: the fibre stays where it is, for ever.
            loop {
                // SAFETY: the yielder lives on the running fibre's stack.
                unsafe { &*self.slots[self.running.get()].yielder.get() }.suspend(());
            }
        }
        resume_unwind(Box::new(Cancelled))
    }

    /// What went wrong in this cluster: a panic of the lowest thread, else the
    /// fault that ended it.
    pub fn take_fault(&self) -> Option<Fault> {
        let panic = self.panic.borrow_mut().take().map(|(_, fault)| fault);
        let fault = self.fault.borrow_mut().take();
        panic.or(fault)
    }

    /// The next thing to do.
    pub fn next(&self) -> Step {
        let mut state = self.state.borrow_mut();
        match state.pick() {
            Some(thread) => Step::Run(thread),
            None if state.live_count == 0 => Step::Done,
            None => Step::Stalled,
        }
    }

    /// Makes every polling thread look again although nothing has happened here.
    pub fn poll_again(&self) {
        let state = &mut *self.state.borrow_mut();
        threads::drain_into(&mut state.polling, &mut state.ready);
        state.idle_rounds = 0;
    }

    /// Counts what has happened in this cluster.
    pub fn events(&self) -> u64 {
        self.state.borrow().events
    }

    /// Whether a thread waits for something outside the scheduler's knowledge.
    pub fn is_polling(&self) -> bool {
        self.state.borrow().polling.iter().any(|&word| word != 0)
    }

    /// The fault of a cluster in which nothing can run, or in which the running
    /// thread has come to a barrier from the wrong place.
    pub fn stall_fault(&self, blocks_unstarted: u64) -> Fault {
        let mut is_at_barrier = false;
        let mut is_polling = false;
        for (_, wait) in self.waits() {
            is_at_barrier |= matches!(wait, Wait::Barrier { .. } | Wait::ClusterBarrier { .. });
            is_polling |= matches!(wait, Wait::Until { .. } | Wait::Yielded);
        }
        let (waiting, exited) = (self.wait_groups(), self.exited_groups());
        if is_at_barrier && !is_polling {
            Fault::DivergentBarrier { waiting, exited }
        } else {
            Fault::Deadlock { waiting, exited, blocks_unstarted }
        }
    }

    /// What each thread waits for that has started and cannot go on.
    fn waits(&self) -> impl Iterator<Item = (usize, Wait)> {
        let ready = self.state.borrow().ready.clone();
        let waits = self.slots.iter().map(|slot| slot.wait.get()).enumerate();
        waits.filter(move |&(thread, _)| !threads::contains(&ready, thread))
    }

    /// Who waits where, grouped by place.
    fn wait_groups(&self) -> Vec<WaitGroup> {
        let mut groups: Vec<WaitGroup> = Vec::new();
        for (thread, wait) in self.waits() {
            let (what, at) = match wait {
                Wait::Unstarted | Wait::Nothing | Wait::Exited => continue,
                Wait::Barrier { id, at } => (format!("barrier {id}"), Some(at)),
                Wait::ClusterBarrier { at } => ("the cluster barrier".to_owned(), Some(at)),
                Wait::Lanes { lanes: Lanes::Warp { mask, .. }, at } => {
                    (format!("a warp operation over {mask:#010x}"), Some(at))
                }
                Wait::Lanes { lanes: Lanes::Warps { count, .. }, at } => {
                    (format!("an operation of {count} warps"), Some(at))
                }
                Wait::Until { what, at } => (what.to_owned(), Some(at)),
                Wait::Yielded => ("a spin that yields".to_owned(), None),
            };
            let (rank, in_block) = self.locate(thread);
            let block = self.shape.block_index(self.number.get(), rank);
            let same = |group: &&mut WaitGroup| {
                group.at == at && group.what == what && group.group.block == block
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.group.push(in_block),
                None => {
                    let group = ThreadGroup { block, threads: vec![in_block..=in_block] };
                    groups.push(WaitGroup { group, what, at });
                }
            }
        }
        groups
    }

    /// Block rank and index within the block of `thread`.
    pub fn locate(&self, thread: usize) -> (u32, u32) {
        let slot = &self.slots[thread];
        (slot.rank, slot.in_block)
    }

    /// `blockIdx` and `threadIdx` of `thread`.
    pub fn coordinates(&self, thread: usize) -> ([u32; 3], [u32; 3]) {
        let (rank, in_block) = self.locate(thread);
        (self.shape.block_index(self.number.get(), rank), self.shape.thread_index(in_block))
    }

    #[cold]
    fn note_panic(&self, thread: usize, payload: &(dyn std::any::Any + Send)) {
        let caught = self.watch.take(payload);
        let mut panic = self.panic.borrow_mut();
        if panic.as_ref().is_none_or(|(first, _)| thread < *first) {
            let (block, index) = self.coordinates(thread);
            *panic = Some((thread, caught.into_fault(block, index)));
        }
    }

    /// Takes `thread` out of all barriers and warp operations.
    fn exit(&self, thread: usize) {
        let rank = self.locate(thread).0 as usize;
        let state = &mut *self.state.borrow_mut();
        state.events += 1;
        threads::remove(&mut state.live, thread);
        state.live_count -= 1;
        let words = self.words(rank as u32);
        let block = &mut state.blocks[rank];
        block.live_count -= 1;
        let live = Live { set: &state.live[words.clone()], count: block.live_count };
        let ready = &mut state.ready[words.clone()];
        for barrier in block.barriers.iter_mut().filter(|barrier| barrier.is_complete(live)) {
            barrier.release(ready);
        }
        while let Some(index) = block.meetings.find_complete(live.set) {
            block.meetings.complete(index, |thread, mask| {
                threads::insert(ready, thread);
                self.slots[words.start * WORD + thread].took_part.set(mask);
            });
        }
        let all = Live { set: &state.live, count: state.live_count };
        if state.cluster_barrier.is_complete(all) {
            state.cluster_barrier.release(&mut state.ready);
        }
    }

    fn exited_groups(&self) -> Vec<ThreadGroup> {
        let mut groups: Vec<ThreadGroup> = Vec::new();
        for (thread, slot) in self.slots.iter().enumerate() {
            if !matches!(slot.wait.get(), Wait::Exited) {
                continue;
            }
            let (rank, in_block) = self.locate(thread);
            let block = self.shape.block_index(self.number.get(), rank);
            match groups.last_mut() {
                Some(group) if group.block == block => group.push(in_block),
                _ => groups.push(ThreadGroup { block, threads: vec![in_block..=in_block] }),
            }
        }
        groups
    }
}

impl Slot {
    /// The slot of thread `thread` of a cluster whose blocks take `stride` each.
    fn new(thread: usize, stride: usize) -> Self {
        Self {
            rank: (thread / stride) as u32,
            in_block: (thread % stride) as u32,
            context: Cell::new(None),
            wait: Cell::new(Wait::Unstarted),
            yielder: Cell::new(std::ptr::null()),
            took_part: Cell::new(0),
        }
    }
}

impl State {
    fn new(words: usize, block_words: usize, blocks: u32) -> Self {
        let empty = || vec![0; words].into_boxed_slice();
        let block = |_| Block {
            barriers: (0..BARRIERS).map(|_| Barrier::new(block_words)).collect(),
            meetings: Meetings::default(),
            live_count: 0,
        };
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

    fn reset(&mut self, block_words: usize, block_threads: u32, random: Option<Random>) {
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
    fn pick(&mut self) -> Option<usize> {
        self.picks_since_poll += 1;
        let mut picked = self.next_ready();
        // A shuffled schedule lets them look at any time.
        let is_early = self.random.as_mut().is_some_and(|random| random.below(8) == 0);
        if picked.is_none() || is_early || self.picks_since_poll > POLL_PICKS {
            if self.events != self.polled_events {
                self.idle_rounds = 0;
            } else if picked.is_none() && (!self.has_yielded || self.idle_rounds > SPIN_ROUNDS) {
                return None;
            }
            self.idle_rounds += 1;
            self.picks_since_poll = 0;
            self.polled_events = self.events;
            self.has_yielded = false;
            threads::drain_into(&mut self.polling, &mut self.ready);
            picked = picked.or_else(|| self.next_ready());
        }
        let thread = picked?;
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
