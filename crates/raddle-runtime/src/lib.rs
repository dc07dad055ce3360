//! Devices, streams, buffers and typed launches, on NVIDIA GPUs and on the CPU.
//!
//! ```ignore
//! let device = Device::best()?;                    // a GPU if there is one
//! let stream = device.stream()?;
//! let x = stream.upload(&[1.0f32; 1000])?;
//! let mut y = stream.zeros(1000)?;
//! stream.launch(Grid::cover(1000, 256), kernels::saxpy(2.0, &x, &mut y))?;
//! let y = y.to_vec()?;                             // waits, and tells of panics
//! ```
//!
//! - [`Device`] is a GPU or the CPU; both take the same calls and give the same
//!   results and errors. `RADDLE_DEVICE=cpu|cuda:N` overrides [`Device::best`].
//! - [`Stream`] is work in order. Streams of a device run beside each other; a
//!   [`Buffer`] may be used on any of them, and work that must come later waits
//!   by itself, on the device, at no cost where one stream is used.
//! - [`Buffer`] owns device memory and frees it in stream order when dropped,
//!   without waiting. Borrow rules say who may use it: a launch borrows its
//!   arguments until it is enqueued.
//! - [`Stream::launch`] checks a launch against kernel and device before the
//!   driver sees it. A panic of a kernel thread is an [`Error::KernelPanic`] at
//!   the next wait, on both devices, and the device goes on.
//! - Streams are futures: `stream.launch(…)?.await`, [`Stream::done`],
//!   [`Stream::to_vec_async`], from any executor; nothing blocks or spins there.
//! - [`Stream::capture`] makes a [`Graph`], which owns the memory it touches and is
//!   replayed with one driver call.
//! - `RADDLE_TRACE=file.json` or [`start_trace`] writes a trace for Perfetto.
//! - Kernels are assembled by the driver once and kept on disk (`RADDLE_CACHE`,
//!   `RADDLE_CACHE_DIR`, `RADDLE_CACHE_MIB`).
//!
//! How order is kept is in `timeline`, and for graphs in `graph::table`; what a
//! launch costs in `launch`; how waiting works in `completion`; how panics find
//! their way in `panics`, and who is told in `fault`.

mod addresses;
mod anchor;
mod args;
mod assembler;
mod buffer;
mod cache;
pub mod call;
mod completion;
mod cuda;
mod device;
mod driver_cache;
mod error;
mod event;
mod fault;
mod foreign;
mod graph;
mod grid;
mod harvest;
mod kernels;
mod launch;
mod managed;
mod matrix;
mod memory;
mod panics;
mod peer;
mod pinned;
mod plain;
mod pool;
mod profile;
mod queue;
mod shelf;
mod shutdown;
mod staging;
mod stream;
mod stream_pool;
mod sync;
mod tensor;
mod timeline;
mod trace;
mod transfer;

#[cfg(all(test, not(loom)))]
mod memory_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use addresses::{ADDRESSES_MAX, AddressList, Addresses};
pub use buffer::{Buffer, ChunksMut, Slice, SliceMut};
pub use call::{Binder, Call, KernelArg, KernelCall};
pub use completion::{Completion, Download, InFlight};
pub use device::{Device, DeviceKind, Limits, Memory};
pub use error::{Error, Result};
pub use event::Event;
pub use foreign::{
    FOREIGN_PARAMS_MAX, ForeignArgs, ForeignCall, ForeignKernel, ForeignModule, ForeignParams,
};
pub use graph::Graph;
pub use grid::{Dims, Grid};
pub use managed::{MemoryAdvice, MemorySide};
pub use matrix::{Matrix, MatrixMut};
pub use pinned::Pinned;
pub use plain::Plain;
pub use pool::{Holder, MemoryPressure, MemoryUse, PoolState};
pub use profile::{
    MemoryKind, MemoryProfile, MemoryProfileMode, ProfileEntry, Stack, StackFrame,
    memory_profile_mode, set_memory_profile,
};
pub use shutdown::shutdown;
pub use stream::{Launched, Stream};
pub use stream_pool::{BorrowedStream, StreamPool};
pub use tensor::{Tensor, TensorMut};
pub use trace::{finish_trace, start_trace};
