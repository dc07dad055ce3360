//! Kernels on the CPU: blocks in parallel on OS threads, the threads of a block
//! as fibres that switch at barriers and warp operations.
//!
//! [`run`] takes a [`Launch`] and returns when every thread has exited, or with
//! the [`Fault`] that says which thread went wrong where. It implements
//! [`raddle_device::host::Engine`], the whole interface to device code; it knows
//! nothing of buffers, streams or CUDA.
//!
//! # What is as on a GPU
//!
//! - A thread that returns or panics counts as arrived at whole-block barriers
//!   and drops out of warp operations; the others go on. After a panic the
//!   launch reports that of the lowest thread of the lowest block. After panics
//!   in some hundred blocks it begins no further ones.
//! - Shared memory is uninitialised: each block finds it full of [`POISON`].
//! - Blocks begin in ascending order, all blocks of a cluster together.
//!
//! # What is stricter
//!
//! - Threads that wait for what cannot happen are an error, not a hang.
//! - A whole-block barrier must be one place in the source. Warp-specialised
//!   code uses barriers with thread counts, as `barrier.sync a, b` in PTX.
//! - A warp operation must be one place in the source for all lanes of its mask.
//!
//! # How it runs
//!
//! A kernel whose threads never wait for each other ([`Launch::synchronizes`] is
//! false) is a plain loop over the threads of each block. Otherwise threads run
//! on fibres, in turn from the first to the last; one that never waits leaves its
//! fibre to the next, so stacks are taken only for threads that wait. A thread
//! that waits for memory looks again whenever something has happened; when
//! nothing happens anywhere in the launch for a while, that is a deadlock.
//!
//! A worker whose blocks all wait for memory begins further blocks, as many as
//! there are stacks for, so that blocks may wait for each other in either
//! direction (grid barriers, look-back scans).
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `RADDLE_SIM_THREADS` | OS threads of a launch | those of the machine |
//! | `RADDLE_SIM_STACK_KIB` | stack of a simulated thread | 256 |
//! | `RADDLE_SIM_SEED` | shuffles which thread goes on at each wait | in turn |
//! | `RADDLE_SIM_SPIN_SECONDS` | spinning longer than that is a deadlock | 30 |
//! | `RADDLE_SIM_ARCH` | variant of kernels that have two, 80 or 90 | 90 |
//!
//! # Hosts built with `panic = "abort"`
//!
//! A panicking kernel thread prints its message with kernel, block and thread
//! and ends the process, since nothing can unwind; so does a fault in a plain
//! loop. Faults of kernels on fibres are returned as usual, but the stacks of
//! threads that were waiting then are never freed.

mod barrier;
mod cluster;
mod engine;
mod fault;
mod fibre;
mod grid;
mod launch;
mod meeting;
mod options;
mod overflow;
mod panics;
mod plain;
mod pool;
mod print;
mod random;
mod runner;
mod schedule;
mod shared;
mod stall;
mod threads;

pub use fault::{BarrierMisuse, Fault, SharedMisuse, Site, ThreadGroup, WaitGroup, WarpMisuse};
pub use launch::Launch;
pub use options::Options;
pub use shared::{POISON, SHARED_BYTES_MAX};

/// Runs a kernel with the settings of the environment. Returns when all threads
/// have exited.
///
/// ## Errors
///
/// A [`Fault`] when a size is out of range, a thread panicked or waited for what
/// cannot happen, or an operation was misused.
///
/// # Safety
///
/// `launch.body` may be called with `launch.params` from any OS thread, once for
/// each thread of the grid and concurrently, while the call lasts.
pub unsafe fn run(launch: &Launch) -> Result<(), Fault> {
    let options = Options::from_env()?;
    // SAFETY: the caller's promise.
    unsafe { run_with(launch, &options) }
}

/// Runs a kernel with settings of the caller's.
///
/// ## Errors
///
/// As [`run`].
///
/// # Safety
///
/// As [`run`].
pub unsafe fn run_with(launch: &Launch, options: &Options) -> Result<(), Fault> {
    if raddle_device::host::try_current().is_some() {
        return Err(Fault::Nested { kernel: launch.kernel });
    }
    let grid = grid::Grid::new(launch, options)?;
    if !std::thread::panicking() {
        return grid.run();
    }
    // In a destructor of a panicking host thread, kernel panics could not be told
    // from the host's own: run on a thread that is not panicking.
    std::thread::scope(|scope| match scope.spawn(|| grid.run()).join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    })
}
