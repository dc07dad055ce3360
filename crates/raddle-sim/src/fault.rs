//! Why a launch ended early, as data: which threads, which block, which source
//! lines. One enum for everything the simulator can report.
//!
//! Invariant: for one launch the reported fault is that of the lowest block (in
//! launch order) that has any, and within a block a panic of the lowest thread
//! comes before everything else, so that the report does not depend on how
//! blocks were spread over OS threads.

use std::fmt;
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

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { message, file, line, column, block, thread } => {
                write!(f, "panicked: {message} ")?;
                if file.is_empty() {
                    write!(f, "(at an unknown place)")?;
                } else {
                    write!(f, "at {file}:{line}:{column}")?;
                }
                write!(f, " in {}", At(*block, *thread))
            }
            Self::DivergentBarrier { waiting, exited } => {
                write!(f, "divergent barrier: {}", Waits(waiting, exited))
            }
            Self::Deadlock { waiting, exited, blocks_unstarted } => {
                write!(f, "deadlock, no thread can run: {}", Waits(waiting, exited))?;
                match blocks_unstarted {
                    0 => Ok(()),
                    count => write!(f, "; {count} blocks had not begun"),
                }
            }
            Self::Barrier { reason, id, at, block, thread } => {
                write!(f, "barrier {id} at {at} in {}: {reason}", At(*block, *thread))
            }
            Self::WarpMask { reason, mask, at, block, thread } => {
                let at_thread = At(*block, *thread);
                write!(f, "warp operation over {mask:#010x} at {at} in {at_thread}: {reason}")
            }
            Self::SharedMemory { reason, block } => {
                write!(f, "shared memory of block {}: {reason}", Index(*block))
            }
            Self::NotSynchronizing { operation, at, block, thread } => write!(
                f,
                "{operation} at {at} in {} would wait, but the kernel was built as one \
                 whose threads never wait for each other: this is a fault of the build, \
                 please report it",
                At(*block, *thread)
            ),
            Self::EndlessSpin { block, thread } => write!(
                f,
                "{} spins without end, but the kernel was built as one whose threads never \
                 wait for each other",
                At(*block, *thread)
            ),
            Self::LaunchSize { what, min, max, found } => {
                write!(f, "{what}: expected {min} to {max}, found {found}")
            }
            Self::ClusterShape { grid, cluster } => write!(
                f,
                "grid {} is not a whole number of clusters {}",
                Index(*grid),
                Index(*cluster)
            ),
            Self::Nested { kernel } => {
                write!(f, "launch of {kernel} from inside a kernel: launch from host code instead")
            }
            Self::Stacks { alive, reason } => write!(
                f,
                "no memory for another simulated thread ({alive} stacks in use): {reason}; \
                 lower the block size, RADDLE_SIM_THREADS or RADDLE_SIM_STACK_KIB"
            ),
            Self::Setting { name, expected, found } => {
                write!(f, "environment variable {name}: expected {expected}, found `{found}`")
            }
        }
    }
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

impl fmt::Display for BarrierMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = |count: &Option<u32>| match count {
            Some(count) => format!("{count} threads"),
            None => "the whole block".to_owned(),
        };
        match self {
            Self::Id => write!(f, "a block has barriers 0 to 15"),
            Self::ThreadCount { found, max } => {
                write!(
                    f,
                    "expected a thread count that is a multiple of 32 up to {max}, found {found}"
                )
            }
            Self::CountChanged { found, first, first_at } => {
                write!(f, "expected {} as at {first_at}, found {}", threads(first), threads(found))
            }
            Self::KindChanged { first_at } => {
                write!(f, "a reducing and a plain barrier meet, the other one at {first_at}")
            }
            Self::ArrivedTwice => {
                write!(f, "the thread had arrived at this phase before and must wait for its end")
            }
        }
    }
}

impl fmt::Display for WarpMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CallerNotInMask { lane } => {
                write!(f, "the calling lane {lane} is not in the mask")
            }
            Self::Overlap { other_mask, other_at } => write!(
                f,
                "lanes of the mask wait in another operation, over {other_mask:#010x} at {other_at}"
            ),
            Self::OtherSite { other_at } => {
                write!(f, "lanes of the mask wait at another place, {other_at}")
            }
            Self::PayloadBytes { found, first } => {
                write!(
                    f,
                    "expected a value of {first} bytes as in the waiting lanes, found {found}"
                )
            }
            Self::ResultBytes { needed, found } => {
                write!(f, "expected {needed} bytes for the results, found {found}")
            }
            Self::Warps { found } => write!(f, "expected a group of 1 to 32 warps, found {found}"),
        }
    }
}

impl fmt::Display for SharedMisuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, limit_bytes } => {
                write!(f, "expected at most {limit_bytes} bytes, found {bytes}")
            }
            Self::Redefined { site, first_bytes, bytes } => write!(
                f,
                "the variable declared at {site} has {first_bytes} bytes in one thread and {bytes} in another"
            ),
            Self::Alignment { found } => {
                write!(f, "expected an alignment that is a power of two up to 1024, found {found}")
            }
            Self::NotShared => {
                write!(f, "the address to map lies outside the caller's shared memory")
            }
            Self::Rank { found, blocks } => {
                write!(f, "expected a rank below {blocks}, found {found}")
            }
        }
    }
}

impl fmt::Display for ThreadGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_one = self.threads.len() == 1 && self.threads[0].start() == self.threads[0].end();
        write!(f, "{} ", if is_one { "thread" } else { "threads" })?;
        for (position, range) in self.threads.iter().enumerate() {
            if position == RANGES_SHOWN_MAX {
                write!(f, ", …")?;
                break;
            }
            let comma = if position == 0 { "" } else { ", " };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{comma}{start}")?,
                (start, end) => write!(f, "{comma}{start}-{end}")?,
            }
        }
        write!(f, " of block {}", Index(self.block))
    }
}

impl fmt::Display for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} at {at} ({})", self.what, self.group),
            None => write!(f, "{} ({})", self.what, self.group),
        }
    }
}

/// A waiting list in words.
struct Waits<'a>(&'a [WaitGroup], &'a [ThreadGroup]);

impl fmt::Display for Waits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, wait) in self.0.iter().enumerate() {
            if position == GROUPS_SHOWN_MAX {
                write!(f, "; and {} more places", self.0.len() - position)?;
                break;
            }
            write!(f, "{}{wait}", if position == 0 { "waiting for " } else { "; for " })?;
        }
        for group in self.1.iter().take(GROUPS_SHOWN_MAX) {
            write!(f, "; exited: {group}")?;
        }
        Ok(())
    }
}

/// `(x, y, z)`.
struct Index([u32; 3]);

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {}, {})", self.0[0], self.0[1], self.0[2])
    }
}

/// A block and a thread in words.
struct At([u32; 3], [u32; 3]);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {}, thread {}", Index(self.0), Index(self.1))
    }
}

const RANGES_SHOWN_MAX: usize = 8;
const GROUPS_SHOWN_MAX: usize = 8;
