//! What can go wrong in the runtime, with whose fault it is and what to do.

use std::fmt;

use crate::pool::PoolState;

/// A failure of the runtime, of a kernel, or of the machine below.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A GPU was asked for and there is none that can be used.
    NoGpu {
        /// Why.
        reason: String,
    },
    /// A GPU was asked for by a number that is too high.
    NoSuchDevice {
        /// The number.
        ordinal: u32,
        /// How many GPUs the driver shows.
        count: u32,
    },
    /// `RADDLE_DEVICE` is set to something that names no device.
    DeviceSetting {
        /// Its value.
        found: String,
    },
    /// The driver failed a call.
    Cuda(raddle_cuda::Error),
    /// A kernel or the hardware broke the GPU's context: every later call on the
    /// device fails, and everything that was awaited there resolves with this
    /// error. What ran before is lost; start a new process, or try
    /// [`Device::reset`](crate::Device::reset).
    DeviceLost {
        /// The device.
        device: String,
        /// The last kernel launched on the stream that reported it, which is
        /// where to look first.
        last_kernel: &'static str,
        /// What the driver says.
        source: raddle_cuda::Error,
    },
    /// The process is the child of a fork, and its parent had used devices: their
    /// threads are not here. Start children with `std::process::Command`, or fork
    /// before the first use.
    Forked {
        /// Process id of the parent.
        parent: u32,
    },
    /// A device could not be given back to the process. If it is lost, start a new
    /// process.
    NotReset {
        /// The device.
        device: String,
        /// Why.
        reason: String,
    },
    /// A device could not be closed, since something of it is alive. Drop buffers,
    /// streams, graphs, futures and handles of the device first; those in statics and
    /// thread-local variables, too.
    DeviceInUse {
        /// The device.
        device: String,
        /// How many handles of it there are; each stream with its buffers counts once or
        /// twice.
        handles: usize,
    },
    /// Work that cannot be captured was asked of a stream that is being captured
    /// into a graph. Do it before or after the capture, or on another stream.
    Capture {
        /// The work.
        operation: &'static str,
    },
    /// A graph was to be changed to work of another shape. Capture a new one.
    GraphShape {
        /// What differs.
        reason: String,
    },
    /// A stream was asked for with a priority above the device's highest.
    StreamPriority {
        /// The device.
        device: String,
        /// The highest priority.
        max: u32,
        /// The priority asked for.
        found: u32,
    },
    /// A trace could not be written.
    Trace {
        /// Its file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The system refused to start the thread that looks after what is awaited.
    Thread {
        /// What the system says.
        reason: String,
    },
    /// The device has no memory left for a buffer, or what is left lies under a limit
    /// that was set. Drop buffers, ask for less, or see who holds the rest.
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        requested_bytes: usize,
        /// Bytes free on the device.
        free_bytes: u64,
        /// Bytes of the device.
        total_bytes: u64,
        /// What this process does with its memory, and who holds most of it.
        pool: Box<PoolState>,
    },
    /// A setting about memory says nothing that is understood.
    MemorySetting {
        /// The environment variable.
        variable: &'static str,
        /// What it may be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The host has no memory left that devices can reach.
    HostMemory {
        /// Bytes asked for.
        requested_bytes: usize,
    },
    /// The device cannot do this.
    Unsupported {
        /// The device.
        device: String,
        /// What it lacks.
        what: &'static str,
    },
    /// An operation wants another sort of memory.
    WrongMemory {
        /// What was to be done.
        operation: &'static str,
        /// The sort of memory that can do it.
        expected: &'static str,
        /// The buffer's sort of memory.
        found: &'static str,
    },
    /// A buffer's size in bytes does not fit in a machine word.
    TooLarge {
        /// Elements asked for.
        len: usize,
        /// Bytes of an element.
        element_bytes: usize,
    },
    /// Two lengths that must be equal are not.
    Length {
        /// What was to be done.
        operation: &'static str,
        /// Elements on the side that decides.
        expected: usize,
        /// Elements on the other side.
        found: usize,
    },
    /// Bytes cannot be seen as elements of another type.
    Reinterpret {
        /// The type they are.
        from: &'static str,
        /// The type they were to be.
        to: &'static str,
        /// How many bytes.
        bytes: usize,
        /// The address on the device.
        address: u64,
    },
    /// A tensor map that does not fit its memory or the copy engine's rules.
    TensorMap {
        /// What is wrong with it.
        reason: String,
    },
    /// The assembler that `RADDLE_PTXAS` names did not assemble a kernel: name one that
    /// knows the kernel's target, or none.
    Assembler {
        /// The program.
        program: std::path::PathBuf,
        /// What it said, or why it did not run.
        reason: String,
    },
    /// A range that does not lie in a buffer.
    Range {
        /// Its start.
        start: usize,
        /// Its end.
        end: usize,
        /// Elements of the buffer.
        len: usize,
    },
    /// A buffer of one device was used on a stream of another.
    WrongDevice {
        /// What was to be done: the kernel's name, or the operation.
        operation: &'static str,
        /// The device that holds the buffer.
        buffer: String,
        /// The stream's device.
        stream: String,
    },
    /// A buffer cannot be cut into the chunks that a kernel wants.
    Chunks {
        /// The kernel.
        kernel: &'static str,
        /// Elements of the buffer.
        len: usize,
        /// Elements of a chunk.
        chunk_len: usize,
        /// Elements that a thread owns together: `N` of `PerBlock<T, N>`.
        vector_len: usize,
    },
    /// A part of a buffer does not begin where a kernel's output must begin, so that
    /// its threads can write whole vectors. Whole buffers always do.
    Alignment {
        /// The kernel.
        kernel: &'static str,
        /// Bytes of which the address must be a multiple.
        expected_bytes: usize,
        /// The address on the device.
        address: u64,
    },
    /// A buffer cannot be seen as the matrix that a kernel wants.
    Matrix {
        /// The kernel.
        kernel: &'static str,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Elements from the start of one row to the next.
        stride: usize,
        /// Elements of the buffer.
        len: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A size of a launch is outside what the device or the kernel allows.
    LaunchLimit {
        /// The kernel.
        kernel: &'static str,
        /// The size, in CUDA's words.
        what: &'static str,
        /// Smallest allowed value.
        min: u64,
        /// Largest allowed value.
        max: u64,
        /// The value given.
        found: u64,
        /// Who sets the limit.
        limit_of: String,
    },
    /// The kernel demands one block or cluster shape and was given another.
    LaunchShape {
        /// The kernel.
        kernel: &'static str,
        /// `block` or `cluster`.
        what: &'static str,
        /// The shape it demands.
        expected: [u32; 3],
        /// The shape given.
        found: [u32; 3],
    },
    /// The grid is not a whole number of clusters.
    ClusterShape {
        /// The kernel.
        kernel: &'static str,
        /// Blocks of the grid.
        grid: [u32; 3],
        /// Blocks of a cluster.
        cluster: [u32; 3],
    },
    /// The kernel hands out its outputs by an index that is unique only in
    /// launches of fewer dimensions.
    LaunchDimensions {
        /// The kernel.
        kernel: &'static str,
        /// How many dimensions it allows.
        max: u32,
        /// Blocks of the grid.
        grid: [u32; 3],
        /// Threads of a block.
        block: [u32; 3],
    },
    /// The GPU is older than the kernel needs.
    DeviceTooOld {
        /// The kernel.
        kernel: &'static str,
        /// The targets it was built for.
        needs: String,
        /// The device.
        device: String,
        /// Its compute capability.
        capability: (u32, u32),
    },
    /// The kernel's parameter block is not of the size it was built with: the
    /// program and its device code come from different builds.
    ParamsSize {
        /// The kernel.
        kernel: &'static str,
        /// Bytes that it was built with.
        expected: usize,
        /// Bytes that were given.
        found: usize,
    },
    /// A kernel's declaration does not fit its image (foreign kernels).
    Declaration {
        /// The kernel.
        kernel: String,
        /// What does not fit.
        reason: String,
    },
    /// A thread of a kernel panicked. Memory that the kernel wrote is in an
    /// unspecified state; the device goes on.
    KernelPanic {
        /// The kernel.
        kernel: &'static str,
        /// The panic's message.
        message: String,
        /// Source file.
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
    /// The CPU device found a fault in a kernel that is not a panic: a divergent
    /// barrier, a deadlock, shared memory that does not fit.
    KernelFault {
        /// The kernel.
        kernel: &'static str,
        /// What it found.
        fault: Box<raddle_sim::Fault>,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<raddle_cuda::Error> for Error {
    fn from(error: raddle_cuda::Error) -> Self {
        match error {
            raddle_cuda::Error::Forked { parent } => Self::Forked { parent },
            error => Self::Cuda(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGpu { reason } => write!(f, "no usable GPU: {reason}"),
            Self::NoSuchDevice { ordinal, count } => {
                write!(f, "no GPU has number {ordinal}: the driver shows {count}, counted from 0")
            }
            Self::DeviceSetting { found } => {
                write!(f, "RADDLE_DEVICE: expected `cpu`, `cuda` or `cuda:N`, found `{found}`")
            }
            Self::Cuda(error) => write!(f, "{error}"),
            Self::DeviceLost { device, last_kernel, source } => {
                write!(
                    f,
                    "{device} is lost to this process (last kernel launched: {last_kernel}): {source}"
                )
            }
            Self::Forked { parent } => {
                write!(f, "{}", raddle_cuda::Error::Forked { parent: *parent })
            }
            Self::NotReset { device, reason } => {
                write!(
                    f,
                    "{device} was not reset: {reason}; if it is lost, a new process can use it"
                )
            }
            Self::DeviceInUse { device, handles } => {
                write!(
                    f,
                    "{device} was not closed: {handles} of its handles are alive, in buffers, streams, graphs or futures; drop them first"
                )
            }
            Self::Capture { operation } => write!(
                f,
                "{operation} cannot be captured into a graph: do it before or after the capture, or on another stream"
            ),
            Self::GraphShape { reason } => write!(f, "the graph cannot be changed so: {reason}"),
            Self::StreamPriority { device, max, found } => {
                write!(f, "stream priority: expected 0 to {max} (limit of {device}), found {found}")
            }
            Self::Trace { path, reason } => write!(f, "the trace {path}: {reason}"),
            Self::Thread { reason } => {
                write!(f, "the thread that watches for the end of work did not start: {reason}")
            }
            Self::OutOfMemory { device, requested_bytes, free_bytes, total_bytes, pool } => write!(
                f,
                "out of memory on {device}: {requested_bytes} bytes asked for, {free_bytes} of {total_bytes} free; {pool}"
            ),
            Self::HostMemory { requested_bytes } => {
                write!(f, "out of host memory: {requested_bytes} bytes asked for")
            }
            Self::Unsupported { device, what } => write!(f, "{device} has no {what}"),
            Self::WrongMemory { operation, expected, found } => {
                write!(f, "{operation}: expected {expected} memory, found {found} memory")
            }
            Self::MemorySetting { variable, expected, found } => {
                write!(f, "{variable}: expected {expected}, found `{found}`")
            }
            Self::TooLarge { len, element_bytes } => {
                write!(f, "{len} elements of {element_bytes} bytes are more than memory can hold")
            }
            Self::Length { operation, expected, found } => {
                write!(f, "{operation}: expected {expected} elements, found {found}")
            }
            Self::Reinterpret { from, to, bytes, address } => write!(
                f,
                "{bytes} bytes of {from} at address {address:#x} are no whole number of aligned {to}"
            ),
            Self::TensorMap { reason } => write!(f, "tensor map: {reason}"),
            Self::Assembler { program, reason } => {
                write!(f, "{} (named by RADDLE_PTXAS): {reason}", program.display())
            }
            Self::Range { start, end, len } => {
                write!(f, "range {start}..{end} does not lie in a buffer of {len} elements")
            }
            Self::WrongDevice { operation, buffer, stream } => write!(
                f,
                "{operation}: the buffer lives on {buffer} and the stream on {stream}; copy it there first"
            ),
            Self::Chunks { kernel, len, chunk_len, vector_len } => write!(
                f,
                "{kernel}: a buffer of {len} elements cannot be cut into chunks of {chunk_len} \
                 (chunks are not empty, divide the buffer and are multiples of {vector_len})"
            ),
            Self::Alignment { kernel, expected_bytes, address } => write!(
                f,
                "{kernel}: expected an output that begins at a multiple of {expected_bytes} bytes, found address {address:#x}"
            ),
            Self::Matrix { kernel, rows, cols, stride, len, reason } => write!(
                f,
                "{kernel}: {len} elements as a matrix of {rows} rows and {cols} columns, {stride} elements apart: {reason}"
            ),
            Self::KernelPanic { kernel, message, file, line, column, block, thread } => write!(
                f,
                "kernel {kernel} panicked at {file}:{line}:{column} in block ({}, {}, {}), thread ({}, {}, {}): {message}",
                block[0], block[1], block[2], thread[0], thread[1], thread[2]
            ),
            Self::KernelFault { kernel, fault } => write!(f, "kernel {kernel}: {fault}"),
            Self::Declaration { kernel, reason } => write!(f, "{kernel}: {reason}"),
            Self::LaunchLimit { .. }
            | Self::LaunchShape { .. }
            | Self::ClusterShape { .. }
            | Self::LaunchDimensions { .. }
            | Self::DeviceTooOld { .. }
            | Self::ParamsSize { .. } => self.fmt_launch(f),
        }
    }
}

impl Error {
    /// Messages about launches that were refused.
    fn fmt_launch(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LaunchLimit { kernel, what, min, max, found, limit_of } => {
                write!(
                    f,
                    "{kernel}: {what}: expected {min} to {max} (limit of {limit_of}), found {found}"
                )
            }
            Self::LaunchShape { kernel, what, expected: e, found: g } => write!(
                f,
                "{kernel}: {what}: expected ({}, {}, {}) as the kernel demands, found ({}, {}, {})",
                e[0], e[1], e[2], g[0], g[1], g[2]
            ),
            Self::ClusterShape { kernel, grid: g, cluster: c } => write!(
                f,
                "{kernel}: a grid of ({}, {}, {}) blocks is not a whole number of clusters of ({}, {}, {})",
                g[0], g[1], g[2], c[0], c[1], c[2]
            ),
            Self::LaunchDimensions { kernel, max, grid: g, block: b } => write!(
                f,
                "{kernel}: expected a launch of at most {max} dimension{} because of its output \
                 parameters, found grid ({}, {}, {}) and block ({}, {}, {})",
                if *max == 1 { "" } else { "s" },
                g[0],
                g[1],
                g[2],
                b[0],
                b[1],
                b[2]
            ),
            Self::DeviceTooOld { kernel, needs, device, capability: (major, minor) } => write!(
                f,
                "{kernel} was built for {needs}, which {device} (compute capability {major}.{minor}) \
                 cannot run: build it for an older target or use a newer GPU"
            ),
            Self::ParamsSize { kernel, expected, found } => write!(
                f,
                "{kernel}: expected {expected} bytes of parameters, found {found}: the device code is of another build, rebuild the crate"
            ),
            _ => unreachable!("only launch errors come here"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Cuda(source) | Self::DeviceLost { source, .. } => Some(source),
            Self::KernelFault { fault, .. } => Some(fault),
            _ => None,
        }
    }
}
