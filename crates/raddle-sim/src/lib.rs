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
//!   launch reports that of the lowest thread of the lowest block.
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
//! # Hosts built with `panic = "abort"`
//!
//! A panicking kernel thread prints its message with kernel, block and thread
//! and ends the process, since nothing can unwind. Faults without a panic are
//! returned as usual, but the stacks of threads that were waiting then are never
//! freed.

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
