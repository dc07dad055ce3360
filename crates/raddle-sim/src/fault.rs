//! Why a launch ended early, as data: which threads, which block, which source
//! lines. One enum for everything the simulator can report.
//!
//! Invariant: for one launch the reported fault is that of the lowest block (in
//! launch order) that has any, and within a block a panic of the lowest thread
//! comes before everything else, so that the report does not depend on how
//! blocks were spread over OS threads.

mod text;

use std::ops::RangeInclusive;
use std::panic::Location;

/// A source location, as `#[track_caller]` gives it.
pub type Site = &'static Location<'static>;

/// Why a launch did not complete.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A thread panicked. The fault of the kernel's code; the other threads
    /// went on.
    Panic {
        /// The panic's message.
        message: String,
        /// Source file of the panic, empty if a later panic hook hid it.
        file: String,
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
        /// `blockIdx` of the thread.
        block: [u32; 3],
        /// `threadIdx` of the thread.
        thread: [u32; 3],
    },
    /// Threads of a block or cluster wait at barriers that the others will not
    /// reach, or reached one whole-block barrier from different lines. Move the
    /// barrier out of the condition, or give the barrier its own id and count.
    DivergentBarrier {
        /// Who waits where.
        waiting: Vec<WaitGroup>,
        /// Who has returned or panicked, by block.
        exited: Vec<ThreadGroup>,
    },
    /// No thread can run and no barrier is to blame: `mbarrier` waits, spins or
    /// warp operations that nobody will satisfy.
    Deadlock {
        /// Who waits where.
        waiting: Vec<WaitGroup>,
        /// Who has returned or panicked, by block.
        exited: Vec<ThreadGroup>,
        /// Blocks that had not begun: a block may wait for lower-numbered ones,
        /// for others only as far as the simulator can hold them all.
        blocks_unstarted: u64,
    },
    /// A barrier was called in a way that no schedule makes right.
    Barrier {
        /// What is wrong.
        reason: BarrierMisuse,
        /// Number of the barrier.
        id: u32,
        /// Where it was called.
        at: Site,
        /// `blockIdx` of the caller.
        block: [u32; 3],
        /// `threadIdx` of the caller.
        thread: [u32; 3],
    },
    /// A warp or warpgroup operation was called in a way that no schedule makes
    /// right.
    WarpMask {
        /// What is wrong.
        reason: WarpMisuse,
        /// The lanes that the caller named; all of them for a warpgroup.
        mask: u32,
        /// Where it was called.
        at: Site,
        /// `blockIdx` of the caller.
        block: [u32; 3],
        /// `threadIdx` of the caller.
        thread: [u32; 3],
    },
    /// Shared memory does not fit, or an address is not what it is used as.
    SharedMemory {
        /// What is wrong.
        reason: SharedMisuse,
        /// `blockIdx` of the caller, or of the first block of its cluster.
        block: [u32; 3],
    },
    /// The kernel was built as one whose threads never wait for each other, yet
    /// it waited. A fault of the build's analysis, not of the kernel.
    NotSynchronizing {
        /// The operation that would have to wait.
        operation: &'static str,
        /// Where it was called.
        at: Site,
        /// `blockIdx` of the caller.
        block: [u32; 3],
        /// `threadIdx` of the caller.
        thread: [u32; 3],
    },
    /// A thread of a kernel that was built as one whose threads never wait for
    /// each other has gone on reading atomics or yielding for
    /// [`Options::spin_max`](crate::Options::spin_max), as if it waited for a
    /// thread that comes after it.
    EndlessSpin {
        /// `blockIdx` of the thread.
        block: [u32; 3],
        /// `threadIdx` of the thread.
        thread: [u32; 3],
    },
    /// A size of the launch is outside what CUDA devices allow.
    LaunchSize {
        /// The size, in CUDA's words.
        what: &'static str,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
        /// The value given.
        found: u64,
    },
    /// The grid is not a whole number of clusters along some axis.
    ClusterShape {
        /// Blocks of the grid.
        grid: [u32; 3],
        /// Blocks of a cluster.
        cluster: [u32; 3],
    },
    /// A launch from inside a kernel.
    Nested {
        /// The kernel that was to be launched.
        kernel: &'static str,
    },
    /// No memory for another fibre's stack. Lower the block size,
    /// `RADDLE_SIM_THREADS` or `RADDLE_SIM_STACK_KIB`.
    Stacks {
        /// Stacks alive in this process.
        alive: usize,
        /// What the operating system said.
        reason: String,
    },
    /// An environment variable of the simulator has no meaning.
    Setting {
        /// Name of the variable.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
}

/// Some threads of one block, by linear index (`x` fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadGroup {
    /// `blockIdx`.
    pub block: [u32; 3],
    /// Ascending ranges of linear thread indices.
    pub threads: Vec<RangeInclusive<u32>>,
}

/// Threads of one block that wait at the same place for the same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitGroup {
    /// The threads.
    pub group: ThreadGroup,
    /// What they wait for: `barrier 0`, `warp operation over 0xffffffff`, ….
    pub what: String,
    /// The source location of the wait, if the wait has one.
    pub at: Option<Site>,
}

/// What is wrong with a call of a barrier.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierMisuse {
    /// A block has barriers 0 to 15.
    Id,
    /// The count must be a multiple of 32 between 32 and the block's threads
    /// rounded up to whole warps.
    ThreadCount {
        /// The count given.
        found: u32,
        /// Threads of the block, rounded up to whole warps.
        max: u32,
    },
    /// Another thread arrived at the same phase with another count.
    CountChanged {
        /// The count given, `None` for the whole block.
        found: Option<u32>,
        /// The count of the phase's first arrival.
        first: Option<u32>,
        /// Where the first arrival was.
        first_at: Site,
    },
    /// `barrier.red` and `barrier.sync` met in one phase.
    KindChanged {
        /// Where the phase's first arrival was.
        first_at: Site,
    },
    /// The thread had already arrived at this phase, by `barrier.arrive`.
    ArrivedTwice,
}

/// What is wrong with a call of a warp operation.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WarpMisuse {
    /// The calling lane is not in its own mask.
    CallerNotInMask {
        /// The caller's lane.
        lane: u32,
    },
    /// Lanes of the mask already wait in an operation with another mask.
    Overlap {
        /// The other mask.
        other_mask: u32,
        /// Where that operation stands.
        other_at: Site,
    },
    /// Lanes of the mask already wait at another source location.
    OtherSite {
        /// Where they wait.
        other_at: Site,
    },
    /// Lanes of the mask offer values of another size.
    PayloadBytes {
        /// Bytes that the caller offers.
        found: usize,
        /// Bytes that the waiting lanes offer.
        first: usize,
    },
    /// The place for the results is too small.
    ResultBytes {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The group is not 1 to 32 warps.
    Warps {
        /// The number of warps given.
        found: u32,
    },
}

/// What is wrong with a use of shared memory.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedMisuse {
    /// Static and dynamic shared memory together exceed the limit.
    TooLarge {
        /// Bytes in use with this variable.
        bytes: usize,
        /// Bytes a block may use.
        limit_bytes: usize,
    },
    /// One variable was asked for with two sizes or alignments.
    Redefined {
        /// Its declaration.
        site: &'static str,
        /// Size first asked for.
        first_bytes: usize,
        /// Size asked for now.
        bytes: usize,
    },
    /// The alignment is not a power of two up to 1024.
    Alignment {
        /// The alignment given.
        found: usize,
    },
    /// `mapa` of an address outside the caller's shared memory.
    NotShared,
    /// `mapa` to a rank that the cluster does not have.
    Rank {
        /// The rank given.
        found: u32,
        /// Blocks of the cluster.
        blocks: u32,
    },
}

impl ThreadGroup {
    /// Adds a thread above all present ones.
    pub(crate) fn push(&mut self, thread: u32) {
        match self.threads.last_mut() {
            Some(last) if *last.end() + 1 == thread => *last = *last.start()..=thread,
            _ => self.threads.push(thread..=thread),
        }
    }
}
