//! Faults in words: lower case, no full stop, expected before found.

use std::fmt;

use super::{BarrierMisuse, Fault, SharedMisuse, ThreadGroup, WaitGroup, WarpMisuse};

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
