//! Kernels whose threads never wait for each other: a loop over the threads of
//! a block, with one context that moves from thread to thread.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use raddle_device::host::{Engine, SharedKey, ThreadContext, set_current};

use crate::fault::{Fault, SharedMisuse, Site};
use crate::grid::Grid;
use crate::launch::{Launch, Shape};
use crate::panics::Watch;
use crate::print::Lines;
use crate::shared::SharedMemory;

/// Runs clusters of one launch on one OS thread.
pub(crate) struct Plain<'w> {
    state: Box<PlainState>,
    watch: &'w Watch,
}

/// What the engine of plain loops needs; free of lifetimes, since contexts
/// point to it.
struct PlainState {
    launch: Launch,
    shape: Shape,
    shared: SharedMemory,
    lines: Lines,
    /// Linear index of the running thread.
    thread: Cell<u32>,
    /// Rank of the running block in its cluster.
    rank: Cell<u32>,
    number: Cell<u64>,
    yields: Cell<u32>,
    spin_max: Duration,
    is_hopper: bool,
    /// The thread that last gave up the OS thread (cluster, block, thread), and
    /// when it did so first.
    spinning: Cell<((u64, u32, u32), Instant)>,
    fault: RefCell<Option<Fault>>,
    has_failed: Cell<bool>,
}

/// Calls of `yield_now` for each time that the OS thread is given up.
const YIELDS_PER_SWITCH: u32 = 1024;

/// Ends the loop of a launch that has failed; thrown past the panic hook.
struct Cancelled;

impl<'w> Plain<'w> {
    /// A loop for clusters of `grid`.
    pub fn new(grid: &Grid<'_>, watch: &'w Watch) -> Self {
        let shared = SharedMemory::new(grid.shape.cluster_blocks, grid.launch.dynamic_shared_bytes);
        let state = PlainState {
            launch: *grid.launch,
            shape: grid.shape,
            shared,
            lines: Lines::new(grid.options.print),
            thread: Cell::new(0),
            rank: Cell::new(0),
            number: Cell::new(0),
            yields: Cell::new(0),
            spin_max: grid.options.spin_max,
            is_hopper: grid.options.is_hopper,
            spinning: Cell::new(((u64::MAX, 0, 0), Instant::now())),
            fault: RefCell::new(None),
            has_failed: Cell::new(false),
        };
        Self { state: Box::new(state), watch }
    }

    /// Runs cluster number `number`.
    pub fn run(&self, number: u64) -> Option<Fault> {
        let state = &*self.state;
        state.number.set(number);
        state.shared.reset();
        state.has_failed.set(false);
        for rank in 0..state.shape.cluster_blocks {
            if !state.has_failed.get() {
                state.rank.set(rank);
                self.run_block();
            }
        }
        state.fault.borrow_mut().take()
    }

    fn run_block(&self) {
        let state = &*self.state;
        let context = UnsafeCell::new(ThreadContext {
            thread: [0; 3],
            block: state.shape.block_index(state.number.get(), state.rank.get()),
            block_dim: state.shape.block,
            grid_dim: state.shape.grid,
            cluster_dim: state.shape.cluster,
            engine: std::ptr::from_ref::<dyn Engine>(state),
        });
        state.thread.set(0);
        set_current(context.get());
        self.watch.is_running.set(true);
        while state.thread.get() < state.shape.block_threads && !state.has_failed.get() {
            // SAFETY: the context lives until the end of this function.
            let run = || unsafe { state.run_threads(context.get()) };
            if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                self.end_early(&*payload);
                // SAFETY: as above, and no thread runs.
                state.advance(unsafe { &mut *context.get() });
            }
        }
        self.watch.is_running.set(false);
        set_current(std::ptr::null());
        state.lines.flush_all();
    }

    /// Notes why the running thread ended.
    #[cold]
    fn end_early(&self, payload: &(dyn std::any::Any + Send)) {
        let state = &*self.state;
        if payload.is::<Cancelled>() {
            return;
        }
        let caught = self.watch.take(payload);
        let (block, thread) = state.coordinates();
        state.fault.borrow_mut().get_or_insert_with(|| caught.into_fault(block, thread));
    }
}

impl PlainState {
    /// Runs the threads of the block from the present one on.
    ///
    /// # Safety
    ///
    /// `context` is valid and the current thread's, and nothing else uses it.
    unsafe fn run_threads(&self, context: *mut ThreadContext) {
        let (body, params) = (self.launch.body, self.launch.params);
        while self.thread.get() < self.shape.block_threads {
            // SAFETY: the caller of `run` promised that the body may be called
            // with these parameters by each thread of the launch.
            unsafe { body(params) };
            // SAFETY: by this function's contract; the body has returned.
            self.advance(unsafe { &mut *context });
        }
    }

    /// Moves to the next thread, `x` fastest.
    #[inline]
    fn advance(&self, context: &mut ThreadContext) {
        self.thread.set(self.thread.get() + 1);
        let block = self.shape.block;
        context.thread[0] += 1;
        if context.thread[0] == block[0] {
            context.thread[0] = 0;
            context.thread[1] += 1;
            if context.thread[1] == block[1] {
                context.thread[1] = 0;
                context.thread[2] += 1;
            }
        }
    }

    /// `blockIdx` and `threadIdx` of the running thread.
    fn coordinates(&self) -> ([u32; 3], [u32; 3]) {
        let block = self.shape.block_index(self.number.get(), self.rank.get());
        (block, self.shape.thread_index(self.thread.get()))
    }

    /// Lets another OS thread run; what a thread spins for may come from there.
    #[cold]
    fn spin(&self) {
        std::thread::yield_now();
        let thread = (self.number.get(), self.rank.get(), self.thread.get());
        let (spinning, since) = self.spinning.get();
        if spinning != thread {
            self.spinning.set((thread, Instant::now()));
        } else if since.elapsed() > self.spin_max && !std::thread::panicking() {
            // Threads after this one cannot run before it has ended: if it waits
            // for one of them it does so for ever.
            let (block, thread) = self.coordinates();
            self.fail(Fault::EndlessSpin { block, thread });
        }
    }

    #[cold]
    fn fail_wait(&self, operation: &'static str, at: Site) -> ! {
        let (block, thread) = self.coordinates();
        self.fail(Fault::NotSynchronizing { operation, at, block, thread })
    }

    #[cold]
    fn fail_shared(&self, reason: SharedMisuse) -> ! {
        let (block, _) = self.coordinates();
        self.fail(Fault::SharedMemory { reason, block })
    }

    fn fail(&self, fault: Fault) -> ! {
        if cfg!(panic = "abort") {
            eprintln!("kernel {}: {fault}", self.launch.kernel);
            std::process::abort();
        }
        self.has_failed.set(true);
        self.fault.borrow_mut().get_or_insert(fault);
        resume_unwind(Box::new(Cancelled))
    }
}

impl Engine for PlainState {
    fn barrier(&self, _id: u32, _threads: Option<u32>, at: Site) {
        self.fail_wait("a block barrier", at)
    }

    fn barrier_arrive(&self, _id: u32, _threads: u32, at: Site) {
        self.fail_wait("an arrival at a block barrier", at)
    }

    fn barrier_count(&self, _id: u32, _value: bool, at: Site) -> (u32, u32) {
        self.fail_wait("a reducing block barrier", at)
    }

    fn warp_collect(&self, _mask: u32, _payload: &[u8], _all: &mut [u8], at: Site) -> u32 {
        self.fail_wait("a warp operation", at)
    }

    fn group_collect(&self, _warps: u32, _payload: &[u8], _all: &mut [u8], at: Site) {
        self.fail_wait("a warpgroup operation", at)
    }

    fn wait_until(&self, what: &'static str, ready: &mut dyn FnMut() -> bool, at: Site) {
        if !ready() {
            self.fail_wait(what, at);
        }
    }

    fn yield_now(&self) {
        let yields = self.yields.get().wrapping_add(1);
        self.yields.set(yields);
        if yields.is_multiple_of(YIELDS_PER_SWITCH) {
            self.spin();
        }
    }

    fn shared_static(&self, key: SharedKey, bytes: usize, align: usize) -> *mut u8 {
        let variable = self.shared.variable(self.rank.get(), key, bytes, align);
        variable.unwrap_or_else(|reason| self.fail_shared(reason))
    }

    fn shared_dynamic(&self) -> (*mut u8, usize) {
        self.shared.dynamic(self.rank.get())
    }

    fn cluster_map(&self, address: *mut u8, rank: u32) -> *mut u8 {
        let mapped = self.shared.map(self.rank.get(), address, rank);
        mapped.unwrap_or_else(|reason| self.fail_shared(reason))
    }

    fn cluster_barrier(&self, _: bool, at: Site) {
        self.fail_wait("a cluster barrier", at)
    }

    fn print(&self, text: &str) {
        self.lines.push(self.thread.get() as usize, text);
    }

    fn is_hopper(&self) -> bool {
        self.is_hopper
    }
}
