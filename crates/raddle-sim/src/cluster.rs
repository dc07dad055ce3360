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

use raddle_device::host::{Engine, ThreadContext, set_current};

use crate::barrier::Live;
use crate::fault::{Fault, Site};
use crate::fibre::Yielder;
use crate::grid::Grid;
use crate::launch::{Launch, Shape};
use crate::meeting::Lanes;
use crate::options::Options;
use crate::panics::Watch;
use crate::print::Lines;
use crate::random::Random;
use crate::schedule::State;
use crate::shared::SharedMemory;
use crate::threads::{self, WORD};

/// A cluster of blocks that run together.
pub(crate) struct Cluster {
    pub launch: Launch,
    pub shape: Shape,
    pub options: Options,
    /// Number of the cluster in the grid.
    pub number: Cell<u64>,
    /// `blockIdx` of the blocks, by rank.
    pub block_indices: Box<[Cell<[u32; 3]>]>,
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
    /// `threadIdx`.
    pub index: [u32; 3],
    context: Cell<Option<ThreadContext>>,
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
    pub fn new(grid: &Grid<'_>, watch: Rc<Watch>) -> Self {
        let Grid { launch, shape, options, .. } = grid;
        let blocks = shape.cluster_blocks;
        let shared = SharedMemory::new(blocks, launch.dynamic_shared_bytes);
        let block_words = (shape.block_threads as usize).div_ceil(WORD);
        let words = block_words * blocks as usize;
        Self {
            launch: **launch,
            shape: *shape,
            options: **options,
            number: Cell::new(0),
            block_words,
            slots: (0..words * WORD).map(|thread| Slot::new(shape, thread, block_words)).collect(),
            block_indices: (0..blocks).map(|_| Cell::default()).collect(),
            state: RefCell::new(State::new(block_words, blocks)),
            shared,
            lines: Lines::new(options.print),
            watch,
            running: Cell::new(0),
            yields: Cell::new(0),
            is_cancelled: Cell::new(false),
            fault: RefCell::default(),
            panic: RefCell::default(),
        }
    }

    /// Makes this cluster number `number` of the grid, with no thread started.
    pub fn reset(&self, number: u64) {
        self.number.set(number);
        self.is_cancelled.set(false);
        self.shared.reset();
        for (rank, index) in (0..).zip(&self.block_indices) {
            index.set(self.shape.block_index(number, rank));
        }
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

    /// Fills in where `thread` stands, before it starts.
    pub fn place(&self, thread: usize) {
        let slot = &self.slots[thread];
        slot.context.set(Some(ThreadContext {
            thread: slot.index,
            block: self.block_indices[slot.rank as usize].get(),
            block_dim: self.shape.block,
            grid_dim: self.shape.grid,
            cluster_dim: self.shape.cluster,
            engine: std::ptr::from_ref::<dyn Engine>(self),
        }));
    }

    /// Makes `thread` the running one of this OS thread.
    #[inline]
    pub fn enter(&self, thread: usize) {
        set_current(self.context(thread));
        self.running.set(thread);
        self.yields.set(0);
    }

    /// A thread that the calling fibre, which is done with its last one, can run
    /// without a switch.
    pub fn enter_next(&self) -> Option<usize> {
        if self.is_cancelled.get() {
            return None;
        }
        let is_unstarted = |thread: usize| matches!(self.slots[thread].wait.get(), Wait::Unstarted);
        let thread = self.state.borrow_mut().pick_if(is_unstarted)?;
        self.place(thread);
        self.enter(thread);
        Some(thread)
    }

    /// The context of a thread that has been placed.
    fn context(&self, thread: usize) -> *const ThreadContext {
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

    /// Whether a thread has panicked.
    pub fn has_panicked(&self) -> bool {
        self.panic.borrow().is_some()
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
        self.state.borrow_mut().poll_again();
    }

    /// Counts what has happened in this cluster.
    pub fn events(&self) -> u64 {
        self.state.borrow().events
    }

    /// Whether a thread waits for something outside the scheduler's knowledge.
    pub fn is_polling(&self) -> bool {
        self.state.borrow().polling.iter().any(|&word| word != 0)
    }

    /// Block rank and index within the block of `thread`.
    pub fn locate(&self, thread: usize) -> (u32, u32) {
        let slot = &self.slots[thread];
        (slot.rank, slot.in_block)
    }

    /// `blockIdx` and `threadIdx` of `thread`.
    pub fn coordinates(&self, thread: usize) -> ([u32; 3], [u32; 3]) {
        let slot = &self.slots[thread];
        (self.block_indices[slot.rank as usize].get(), slot.index)
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
        if self.is_cancelled.get() {
            // What the others offered lies on stacks that are being unwound.
            return;
        }
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
}

impl Slot {
    /// The slot of thread `thread` of a cluster.
    fn new(shape: &Shape, thread: usize, block_words: usize) -> Self {
        let stride = block_words * WORD;
        let in_block = (thread % stride) as u32;
        Self {
            rank: (thread / stride) as u32,
            in_block,
            index: shape.thread_index(in_block),
            context: Cell::new(None),
            wait: Cell::new(Wait::Unstarted),
            yielder: Cell::new(std::ptr::null()),
            took_part: Cell::new(0),
        }
    }
}
