//! Fibres: stacks on which simulated threads run and wait, and the pool that
//! keeps stacks between launches.
//!
//! A fibre outlives the threads it runs: when a thread ends, its fibre asks for
//! another task, so that a stack is set up once for many threads and a new one
//! is taken only while another thread waits.
//!
//! Invariant: a fibre in the pool's or a worker's hands is between two tasks,
//! so that ending it drops nothing of a kernel's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use corosensei::stack::{DefaultStack, Stack, StackPointer};
use corosensei::{Coroutine, CoroutineResult};

use crate::cluster::Cluster;
use crate::fault::Fault;

/// Through this a running thread gives its OS thread back to the scheduler.
pub(crate) type Yielder = corosensei::Yielder<Resume, ()>;

/// What the scheduler tells a fibre.
#[derive(Clone, Copy)]
pub(crate) enum Resume {
    /// Run this thread from its beginning.
    Start { cluster: *const Cluster, thread: usize },
    /// Go on where you stopped.
    Continue,
    /// Leave: the stack is wanted elsewhere.
    End,
}

/// A stack with a flow of control on it.
pub(crate) struct Fibre {
    coroutine: Coroutine<Resume, (), (), PooledStack>,
    stack: (usize, usize),
}

impl Fibre {
    /// A fibre between two tasks.
    ///
    /// ## Errors
    ///
    /// [`Fault::Stacks`] if there is no memory for its stack.
    pub fn new(stack_kib: usize) -> Result<Self, Fault> {
        let stack = take_stack(stack_kib)?;
        let ends = (stack.limit().get(), stack.base().get());
        Ok(Self { coroutine: Coroutine::with_stack(stack, run_tasks), stack: ends })
    }

    /// Lets the fibre run until it waits or wants another task.
    #[inline(always)]
    pub fn resume(&mut self, resume: Resume) {
        match self.coroutine.resume(resume) {
            CoroutineResult::Yield(()) => {}
            CoroutineResult::Return(()) => unreachable!("only `End` makes a fibre return"),
        }
    }

    /// End and beginning of the stack.
    #[inline]
    pub fn stack(&self) -> (usize, usize) {
        self.stack
    }

    /// Ends a fibre that is between two tasks and keeps its stack for others.
    pub fn end(mut self) {
        if self.coroutine.started() {
            let result = self.coroutine.resume(Resume::End);
            debug_assert_eq!(result, CoroutineResult::Return(()));
        } else {
            // SAFETY: nothing has run on the stack, and its initial object is a
            // function item without any data.
            unsafe { self.coroutine.force_reset() };
        }
        give_stack(self.coroutine.into_stack());
    }
}

/// The life of a fibre.
fn run_tasks(yielder: &Yielder, mut resume: Resume) {
    while let Resume::Start { cluster, thread } = resume {
        // SAFETY: the scheduler keeps the cluster alive while its threads run.
        let cluster = unsafe { &*cluster };
        let mut next = Some(thread);
        while let Some(thread) = next {
            cluster.run_thread(thread, yielder);
            next = cluster.enter_next();
        }
        resume = yielder.suspend(());
    }
}

/// A stack that can serve several fibres one after the other.
pub(crate) struct PooledStack {
    memory: DefaultStack,
    kib: usize,
    /// Where the stack begins below the top of its memory. Differs from stack to
    /// stack, else the live ends of all stacks would compete for the same few
    /// sets of the first-level cache.
    colour_bytes: usize,
}

// SAFETY: memory, guard page and limit are those of `DefaultStack`; the base is
// lowered by less than a page's multiple of the alignment, within memory that is
// larger than asked for by the same amount.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        let base = self.memory.base().get() - self.colour_bytes;
        StackPointer::new(base).expect("the stack lies above its colour")
    }

    fn limit(&self) -> StackPointer {
        self.memory.limit()
    }

    #[cfg(windows)]
    fn teb_fields(&self) -> corosensei::stack::StackTebFields {
        self.memory.teb_fields()
    }

    #[cfg(windows)]
    fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
        self.memory.update_teb_fields(stack_limit, guaranteed_stack_bytes);
    }
}

/// Stacks that no fibre uses.
static SPARE: Mutex<Vec<PooledStack>> = Mutex::new(Vec::new());
/// Stacks in existence.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

fn take_stack(kib: usize) -> Result<PooledStack, Fault> {
    let spare = SPARE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    match spare {
        Some(stack) if stack.kib == kib => return Ok(stack),
        Some(stack) => drop_stack(stack),
        None => {}
    }
    let alive = ALIVE.fetch_add(1, Ordering::Relaxed);
    let colour_bytes = alive % COLOURS * COLOUR_BYTES;
    let new = if alive >= STACKS_MAX {
        Err(format!("the limit of {STACKS_MAX} stacks is reached"))
    } else {
        DefaultStack::new(kib * 1024 + COLOURS * COLOUR_BYTES).map_err(|error| error.to_string())
    };
    new.map(|memory| PooledStack { memory, kib, colour_bytes }).map_err(|reason| {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
        Fault::Stacks { alive, reason }
    })
}

fn give_stack(stack: PooledStack) {
    SPARE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(stack);
}

fn drop_stack(stack: PooledStack) {
    drop(stack);
    ALIVE.fetch_sub(1, Ordering::Relaxed);
}

/// Most stacks alive at once. Each takes two of the 65,530 memory mappings that
/// Linux gives a process.
const STACKS_MAX: usize = 24 * 1024;
/// Most stacks that one launch should use at once.
pub(crate) const LAUNCH_STACKS_MAX: usize = STACKS_MAX / 2;
const COLOURS: usize = 16;
const COLOUR_BYTES: usize = 256;
