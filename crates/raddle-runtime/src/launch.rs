//! The launch path: what is checked before the driver or the simulator sees a
//! launch, and handing it over.
//!
//! On a GPU a launch takes one lock, one table lookup, a handful of comparisons
//! and one driver call; it does not touch the heap.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use raddle_cuda::{FunctionAttribute, Shape};
use raddle_device::kernel::Kernel;
use raddle_device::param::ParamRules;

use crate::call::{Accesses, sealed};
use crate::completion::Point;
use crate::cuda::CudaDevice;
use crate::device::{Device, Limits};
use crate::error::{Error, Result};
use crate::foreign::{ForeignCall, ForeignParams};
use crate::grid::Grid;
use crate::kernels::{FunctionLimits, Loaded};
use crate::queue::Queue;
use crate::stream::Stream;

impl Stream {
    /// Checks and enqueues a launch.
    ///
    /// # Safety
    ///
    /// `params` is a parameter block of `kernel` that names only memory in
    /// `accesses`, of this device or refused here; it lives for the call.
    pub(crate) unsafe fn launch_params(
        &self,
        grid: &Grid,
        kernel: &'static Kernel,
        params: *const u8,
        params_bytes: usize,
        accesses: &Accesses<'_>,
    ) -> Result<Point> {
        let device = self.device();
        let Some(cuda) = &device.inner().cuda else {
            // SAFETY: the caller's contract.
            return unsafe { self.run_params(grid, kernel, params, params_bytes, accesses) };
        };
        let loaded = cuda.kernels.get(device, kernel)?;
        if params_bytes != loaded.rules.params_bytes {
            return Err(wrong_params(kernel, params_bytes));
        }
        let Some(shape) = loaded.shape(device, cuda, kernel, grid)? else {
            return Ok(self.queue().point());
        };
        self.submit(Operation::Launch(kernel), accesses, |raw, state| {
            let raw = raw.expect("queues of a GPU have a driver stream");
            let queue = self.queue();
            queue.note_launch(kernel);
            let tag = match &mut state.recording {
                None => queue.next_tag(loaded.index),
                Some(recording) => recording.next_tag(cuda, loaded.index)?,
            };
            let mut pointers = tag.pointers(params, params_bytes);
            // SAFETY: the caller's contract; the shape is within what kernel and
            // device allow.
            unsafe { raw.launch(&loaded.function, &shape, &mut pointers)? };
            match &mut state.recording {
                None => Ok(()),
                Some(recording) => recording.note_launch(raw, kernel),
            }
        })
    }

    /// Checks a launch and runs it on the CPU, to its end.
    ///
    /// # Safety
    ///
    /// As for [`Stream::launch_params`].
    #[inline(never)]
    unsafe fn run_params(
        &self,
        grid: &Grid,
        kernel: &'static Kernel,
        params: *const u8,
        params_bytes: usize,
        accesses: &Accesses<'_>,
    ) -> Result<Point> {
        if params_bytes != kernel.meta.params_bytes as usize {
            return Err(wrong_params(kernel, params_bytes));
        }
        let limits = FunctionLimits { block_threads_max: u32::MAX, static_shared_bytes: 0 };
        let shape = Checked { kernel, device: self.device(), limits }.shape(grid)?;
        if grid.is_empty {
            return Ok(self.queue().point());
        }
        refuse_nested(kernel)?;
        refuse_forked()?;
        if self.queue().is_capturing() {
            // SAFETY: the caller's contract; the graph holds the memory.
            let launch = unsafe { CpuLaunch::new(kernel, shape, params, params_bytes) };
            return self.record_cpu_launch(accesses, launch);
        }
        self.submit(Operation::Launch(kernel), accesses, |_, _| {
            let queue = self.queue();
            queue.note_launch(kernel);
            // SAFETY: the caller's contract.
            let ran = unsafe { run_on_cpu(kernel, &shape, params) };
            if let Err(error) = ran {
                let before = queue.enqueued.load(Ordering::Acquire);
                queue.errors.push(before, before + 1, error);
            }
            Ok(())
        })
    }
}

impl Loaded {
    /// The launch as the driver takes it, if it is allowed; `None` if there is
    /// nothing to launch.
    #[inline]
    fn shape(
        &self,
        device: &Device,
        cuda: &CudaDevice,
        kernel: &'static Kernel,
        grid: &Grid,
    ) -> Result<Option<Shape>> {
        let shape = if self.rules.allow(grid) {
            Shape {
                grid: grid.grid,
                block: grid.block,
                cluster: [0; 3],
                dynamic_shared_bytes: grid.shared_bytes as u32,
                is_programmatic: grid.is_programmatic && cuda.capability() >= (9, 0),
            }
        } else {
            let shape = Checked { kernel, device, limits: self.limits }.shape(grid)?;
            if grid.is_empty {
                return Ok(None);
            }
            shape_for(cuda, self, shape)?
        };
        if shape.dynamic_shared_bytes > self.dynamic_shared_bytes_max.load(Ordering::Acquire) {
            allow_shared(self, shape.dynamic_shared_bytes)?;
        }
        Ok(Some(shape))
    }
}

impl Device {
    /// A launch that takes the place of another one in a graph, on a GPU.
    pub(crate) fn checked_launch(
        &self,
        grid: &Grid,
        kernel: &'static Kernel,
        params_bytes: usize,
    ) -> Result<(&Loaded, Shape)> {
        let cuda = self.inner().cuda.as_ref().expect("a driver's graph is of a GPU");
        let loaded = cuda.kernels.get(self, kernel)?;
        if params_bytes != loaded.rules.params_bytes {
            return Err(wrong_params(kernel, params_bytes));
        }
        match loaded.shape(self, cuda, kernel, grid)? {
            Some(shape) if shape.cluster == [0; 3] && !shape.is_programmatic => Ok((loaded, shape)),
            _ => Err(not_plain()),
        }
    }

    /// A launch that takes the place of another one in a graph, on the CPU device.
    ///
    /// # Safety
    ///
    /// `params` is a parameter block of `kernel`; the memory that it names is alive
    /// whenever the launch runs.
    pub(crate) unsafe fn record_launch(
        &self,
        grid: &Grid,
        kernel: &'static Kernel,
        params: *const u8,
        params_bytes: usize,
    ) -> Result<CpuLaunch> {
        if params_bytes != kernel.meta.params_bytes as usize {
            return Err(wrong_params(kernel, params_bytes));
        }
        let limits = FunctionLimits { block_threads_max: u32::MAX, static_shared_bytes: 0 };
        let shape = Checked { kernel, device: self, limits }.shape(grid)?;
        if grid.is_empty || shape.cluster != [0; 3] || shape.is_programmatic {
            return Err(not_plain());
        }
        // SAFETY: the caller's contract.
        Ok(unsafe { CpuLaunch::new(kernel, shape, params, params_bytes) })
    }
}

#[cold]
fn not_plain() -> Error {
    let reason = "empty, programmatic and clustered launches can only be captured anew";
    Error::GraphShape { reason: reason.to_owned() }
}

/// A launch of the CPU device that runs later, with its own copy of the parameters.
pub(crate) struct CpuLaunch {
    pub(crate) kernel: &'static Kernel,
    shape: Shape,
    params: Box<[ParamChunk]>,
}

/// Parameters, aligned as any parameter may want to be.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct ParamChunk([MaybeUninit<u8>; 128]);

impl CpuLaunch {
    /// # Safety
    ///
    /// `params` is a parameter block of `kernel`, of `bytes` bytes.
    unsafe fn new(kernel: &'static Kernel, shape: Shape, params: *const u8, bytes: usize) -> Self {
        let chunks = bytes.div_ceil(size_of::<ParamChunk>()).max(1);
        let mut copy = vec![ParamChunk([MaybeUninit::uninit(); 128]); chunks];
        // SAFETY: the chunks have room for all bytes, and are new.
        unsafe { copy.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(params, bytes) };
        Self { kernel, shape, params: copy.into() }
    }

    /// Runs the launch to its end.
    ///
    /// # Safety
    ///
    /// The memory that the parameters name is alive, and nobody else uses it in a
    /// way that conflicts.
    pub(crate) unsafe fn run(&self) -> Result<()> {
        refuse_nested(self.kernel)?;
        refuse_forked()?;
        // SAFETY: the caller's contract.
        unsafe { run_on_cpu(self.kernel, &self.shape, self.params.as_ptr().cast()) }
    }
}

// SAFETY: parameters are plain data and addresses; who may use the memory when is
// up to those who run the launch.
unsafe impl Send for CpuLaunch {}
// SAFETY: as above.
unsafe impl Sync for CpuLaunch {}

/// What work is, for messages.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    /// A copy, a fill, and the like.
    Named(&'static str),
    /// A launch.
    Launch(&'static Kernel),
}

impl Operation {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Named(name) => name,
            Self::Launch(kernel) => kernel.name,
        }
    }
}

#[cold]
fn wrong_params(kernel: &'static Kernel, found: usize) -> Error {
    let expected = kernel.meta.params_bytes as usize;
    Error::ParamsSize { kernel: kernel.name, expected, found }
}

/// What a kernel on a device allows of plain launches, in one cache line. What
/// these rules do not allow is looked at closely by [`Checked`], which may allow
/// it nevertheless (clusters, empty covers) and else says what is wrong.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct LaunchRules {
    pub(crate) params_bytes: usize,
    grid_max: [u32; 3],
    block_max: [u32; 3],
    /// The block that is demanded, or zeros.
    block: [u32; 3],
    block_threads_max: u32,
    dynamic_shared_bytes_max: u32,
    /// How many dimensions a launch may have; 0 if clusters are demanded.
    dimensions: u32,
}

impl LaunchRules {
    pub(crate) fn new(device: &Limits, kernel: &Kernel, function: FunctionLimits) -> Self {
        let meta = &kernel.meta;
        let declared = if meta.max_threads == 0 { u32::MAX } else { meta.max_threads };
        let shared = device.shared_bytes.saturating_sub(function.static_shared_bytes);
        let dimensions = match kernel.rules {
            _ if meta.cluster != [0; 3] => 0,
            ParamRules { one_dimensional: true, .. } => 1,
            ParamRules { two_dimensional: true, .. } => 2,
            ParamRules { .. } => 3,
        };
        Self {
            params_bytes: meta.params_bytes as usize,
            grid_max: device.grid,
            block_max: device.block,
            block: meta.block,
            block_threads_max: device.block_threads.min(declared).min(function.block_threads_max),
            dynamic_shared_bytes_max: u32::try_from(shared).unwrap_or(u32::MAX),
            dimensions,
        }
    }

    /// Whether a launch is plain and allowed.
    #[inline]
    pub(crate) fn allow(&self, grid: &Grid) -> bool {
        let ([gx, gy, gz], [bx, by, bz]) = (grid.grid, grid.block);
        // Zero becomes the largest number.
        let is_within = |size: u32, max: u32| size.wrapping_sub(1) < max;
        let is_flat = match self.dimensions {
            0 => false,
            1 => gy | gz | by | bz == 1,
            2 => gz | bz == 1,
            _ => true,
        };
        is_flat
            && is_within(gx, self.grid_max[0])
            && is_within(gy, self.grid_max[1])
            && is_within(gz, self.grid_max[2])
            && is_within(bx, self.block_max[0])
            && is_within(by, self.block_max[1])
            && is_within(bz, self.block_max[2])
            // At most 2^10 * 2^10 * 2^6: no overflow.
            && bx * by * bz <= self.block_threads_max
            && (self.block == [0; 3] || self.block == grid.block)
            && grid.shared_bytes <= self.dynamic_shared_bytes_max as usize
            && grid.cluster == [0; 3]
            && !grid.is_empty
    }
}

impl<P: ForeignParams> sealed::Call for ForeignCall<'_, P> {
    fn enqueue(self, stream: &Stream, grid: &Grid) -> Result<Point> {
        let (kernel, device) = (self.kernel, stream.device());
        if let Some(error) = self.error {
            return Err(*error);
        }
        let Some(cuda) = device.inner().cuda.as_ref().filter(|_| self.device.is_same(device))
        else {
            return Err(Error::WrongDevice {
                operation: kernel.name,
                buffer: self.device.to_string(),
                stream: device.to_string(),
            });
        };
        let shape = Checked { kernel, device, limits: self.loaded.limits }.shape(grid)?;
        if grid.is_empty {
            return Ok(stream.queue().point());
        }
        let shape = shape_for(cuda, &self.loaded, shape)?;
        allow_shared(&self.loaded, shape.dynamic_shared_bytes)?;
        let mut pointers = P::pointers(&self.params);
        stream.submit(Operation::Launch(kernel), &self.accesses, |raw, state| {
            let raw = raw.expect("queues of a GPU have a driver stream");
            stream.queue().note_launch(kernel);
            // SAFETY: whoever made the call vouches for the kernel; there is one
            // pointer for each parameter, to a value of its size.
            unsafe { raw.launch(&self.loaded.function, &shape, &mut pointers)? };
            match &mut state.recording {
                None => Ok(()),
                Some(recording) => recording.note_foreign(&self.loaded),
            }
        })
    }
}

impl Queue {
    #[inline]
    pub(crate) fn note_launch(&self, kernel: &'static Kernel) {
        self.last_kernel.store(std::ptr::from_ref(kernel).cast_mut(), Ordering::Relaxed);
    }

    /// Name of the kernel launched last.
    pub(crate) fn last_kernel(&self) -> &'static str {
        let kernel = self.last_kernel.load(Ordering::Relaxed);
        // SAFETY: null or a reference to a static.
        unsafe { kernel.as_ref() }.map_or("none", |kernel| kernel.name)
    }
}

/// A launch that is being checked.
struct Checked<'a> {
    kernel: &'static Kernel,
    device: &'a Device,
    limits: FunctionLimits,
}

impl Checked<'_> {
    /// The launch as the driver takes it, if it is allowed.
    fn shape(&self, grid: &Grid) -> Result<Shape> {
        let (meta, limits) = (&self.kernel.meta, self.device.limits());
        let axes = [
            ("grid x", limits.grid[0], grid.grid[0]),
            ("grid y", limits.grid[1], grid.grid[1]),
            ("grid z", limits.grid[2], grid.grid[2]),
            ("block x", limits.block[0], grid.block[0]),
            ("block y", limits.block[1], grid.block[1]),
            ("block z", limits.block[2], grid.block[2]),
        ];
        for (what, max, found) in axes {
            // Nothing is launched for an empty cover, whose grid is 0.
            if found > max || (found == 0 && !(grid.is_empty && what == "grid x")) {
                return Err(self.over(what, 1, max.into(), found.into(), Of::Device));
            }
        }
        self.check_block(grid, limits)?;
        self.check_dimensions(grid)?;
        let shared_max = limits.shared_bytes.saturating_sub(self.limits.static_shared_bytes);
        if grid.shared_bytes > shared_max {
            let what = "dynamic shared memory in bytes";
            let found = grid.shared_bytes as u64;
            return Err(self.over(what, 0, shared_max as u64, found, Of::Device));
        }
        let cluster = if grid.cluster == [0; 3] { meta.cluster } else { grid.cluster };
        if cluster != [0; 3] {
            self.check_cluster(grid, cluster, limits)?;
        }
        Ok(Shape {
            grid: grid.grid,
            block: grid.block,
            cluster: grid.cluster,
            dynamic_shared_bytes: u32::try_from(grid.shared_bytes).unwrap_or(u32::MAX),
            is_programmatic: grid.is_programmatic,
        })
    }

    fn check_block(&self, grid: &Grid, limits: &Limits) -> Result<()> {
        let meta = &self.kernel.meta;
        let threads: u64 = grid.block.iter().map(|&size| u64::from(size)).product();
        let what = "threads of a block";
        if threads > limits.block_threads.into() {
            return Err(self.over(what, 1, limits.block_threads.into(), threads, Of::Device));
        }
        if meta.block != [0; 3] && meta.block != grid.block {
            let (kernel, expected) = (self.kernel.name, meta.block);
            let found = grid.block;
            return Err(Error::LaunchShape { kernel, what: "block", expected, found });
        }
        if meta.max_threads != 0 && threads > meta.max_threads.into() {
            return Err(self.over(what, 1, meta.max_threads.into(), threads, Of::Declaration));
        }
        if threads > self.limits.block_threads_max.into() {
            let max = self.limits.block_threads_max.into();
            return Err(self.over(what, 1, max, threads, Of::Registers));
        }
        Ok(())
    }

    fn check_dimensions(&self, grid: &Grid) -> Result<()> {
        let rules = self.kernel.rules;
        let is_flat = |axis: usize| grid.grid[axis] == 1 && grid.block[axis] == 1;
        let max = if rules.one_dimensional && !(is_flat(1) && is_flat(2)) {
            1
        } else if rules.two_dimensional && !is_flat(2) {
            2
        } else {
            return Ok(());
        };
        let kernel = self.kernel.name;
        Err(Error::LaunchDimensions { kernel, max, grid: grid.grid, block: grid.block })
    }

    fn check_cluster(&self, grid: &Grid, cluster: [u32; 3], limits: &Limits) -> Result<()> {
        let (kernel, meta) = (self.kernel.name, &self.kernel.meta);
        if meta.cluster != [0; 3] && meta.cluster != cluster {
            let (what, expected) = ("cluster", meta.cluster);
            return Err(Error::LaunchShape { kernel, what, expected, found: cluster });
        }
        let blocks = cluster.iter().fold(1u64, |n, &size| n.saturating_mul(size.into()));
        let max = u64::from(limits.cluster_blocks);
        if blocks == 0 || blocks > max {
            return Err(self.over("blocks of a cluster", 1, max, blocks, Of::Device));
        }
        if (0..3).any(|axis| !grid.grid[axis].is_multiple_of(cluster[axis])) {
            return Err(Error::ClusterShape { kernel, grid: grid.grid, cluster });
        }
        Ok(())
    }

    #[cold]
    fn over(&self, what: &'static str, min: u64, max: u64, found: u64, of: Of) -> Error {
        let limit_of = match of {
            Of::Device => self.device.to_string(),
            Of::Declaration => "the kernel's own `max_threads`".to_owned(),
            Of::Registers => format!("the kernel's registers on {}", self.device),
        };
        Error::LaunchLimit { kernel: self.kernel.name, what, min, max, found, limit_of }
    }
}

/// Who sets a limit.
enum Of {
    Device,
    Declaration,
    Registers,
}

/// Prepares the function for clusters, and leaves out of the shape what this
/// device does not have.
#[cold]
fn shape_for(cuda: &CudaDevice, loaded: &Loaded, shape: Shape) -> Result<Shape> {
    let blocks = shape.cluster.iter().product::<u32>();
    if blocks > PORTABLE_CLUSTER_BLOCKS_MAX && !loaded.has_large_clusters.load(Ordering::Acquire) {
        loaded.function.set_attribute(FunctionAttribute::NonPortableClusterSizeAllowed, 1)?;
        loaded.has_large_clusters.store(true, Ordering::Release);
    }
    // Before compute capability 9.0 a kernel always begins after the one ahead.
    let is_programmatic = shape.is_programmatic && cuda.capability() >= (9, 0);
    Ok(Shape { is_programmatic, ..shape })
}

/// Lets the function have so much dynamic shared memory.
#[cold]
fn allow_shared(loaded: &Loaded, bytes: u32) -> Result<()> {
    if bytes > loaded.dynamic_shared_bytes_max.load(Ordering::Acquire) {
        let value = i32::try_from(bytes).unwrap_or(i32::MAX);
        loaded.function.set_attribute(FunctionAttribute::MaxDynamicSharedBytes, value)?;
        loaded.dynamic_shared_bytes_max.fetch_max(bytes, Ordering::AcqRel);
    }
    Ok(())
}

/// A launch from inside a kernel would wait for itself.
fn refuse_nested(kernel: &'static Kernel) -> Result<()> {
    if raddle_device::host::try_current().is_none() {
        return Ok(());
    }
    let fault = Box::new(raddle_sim::Fault::Nested { kernel: kernel.name });
    Err(Error::KernelFault { kernel: kernel.name, fault })
}

/// In a forked child the threads that run blocks are gone.
fn refuse_forked() -> Result<()> {
    if raddle_cuda::fork::is_child() { Err(raddle_cuda::fork::error().into()) } else { Ok(()) }
}

/// Runs a launch to its end.
///
/// # Safety
///
/// As for [`Stream::launch_params`].
unsafe fn run_on_cpu(kernel: &'static Kernel, shape: &Shape, params: *const u8) -> Result<()> {
    let cluster = if shape.cluster == [0; 3] { kernel.meta.cluster } else { shape.cluster };
    let launch = raddle_sim::Launch {
        grid: shape.grid,
        block: shape.block,
        cluster,
        dynamic_shared_bytes: shape.dynamic_shared_bytes as usize,
        // A kernel without device code was not looked at: it may wait.
        synchronizes: kernel.images.is_empty()
            || kernel.images.iter().any(|image| image.synchronizes),
        body: kernel.body,
        params,
        kernel: kernel.name,
    };
    // SAFETY: the caller's contract: the body may run with these parameters in
    // every thread of the launch.
    unsafe { raddle_sim::run(&launch) }.map_err(|fault| match fault {
        raddle_sim::Fault::Panic { message, file, line, column, block, thread } => {
            let kernel = kernel.name;
            Error::KernelPanic { kernel, message, file, line, column, block, thread }
        }
        fault => Error::KernelFault { kernel: kernel.name, fault: Box::new(fault) },
    })
}

/// Blocks of a cluster that every device with clusters allows.
const PORTABLE_CLUSTER_BLOCKS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use raddle_device::kernel::KernelMeta;

    use super::*;

    unsafe fn nothing(_params: *const u8) {}

    const PLAIN: Kernel = Kernel {
        name: "test::plain",
        images: &[],
        meta: KernelMeta::NONE,
        rules: ParamRules::NONE,
        body: nothing,
        file: "",
        line: 0,
    };

    static KERNELS: [Kernel; 6] = [
        PLAIN,
        Kernel { rules: ParamRules::ONE_D, ..PLAIN },
        Kernel { rules: ParamRules::TWO_D, ..PLAIN },
        Kernel { meta: KernelMeta { block: [64, 2, 1], ..KernelMeta::NONE }, ..PLAIN },
        Kernel { meta: KernelMeta { max_threads: 200, ..KernelMeta::NONE }, ..PLAIN },
        Kernel { meta: KernelMeta { cluster: [2, 1, 1], ..KernelMeta::NONE }, ..PLAIN },
    ];

    /// The quick rules allow what the close look allows, but for clusters and empty
    /// covers, which they leave to it.
    #[test]
    fn quick_rules_and_the_close_look_agree() {
        let device = &Device::cpu();
        let sizes = [0, 1, 2, 3, 32, 64, 65, 128, 512, 1024, 1025, 65_535, 65_536, u32::MAX];
        let limits = FunctionLimits { block_threads_max: 768, static_shared_bytes: 1000 };
        let mut state = 1u64;
        let mut pick = |len: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % len
        };
        let (mut allowed, mut refused) = (0, 0);
        for _ in 0..200_000 {
            let mut size = |often_one: bool| {
                if often_one && pick(3) > 0 { 1 } else { sizes[pick(sizes.len())] }
            };
            let grid = Grid::new(
                [size(false), size(true), size(true)],
                [size(false), size(true), size(true)],
            );
            let shared = [0, 48 << 10, (227 << 10) - 1000, 227 << 10][pick(4)];
            let cluster = [[0; 3], [0; 3], [2, 1, 1]][pick(3)];
            let grid = grid.shared_bytes(shared).cluster(cluster);
            let kernel = &KERNELS[pick(KERNELS.len())];
            let quick = LaunchRules::new(device.limits(), kernel, limits).allow(&grid);
            let close = Checked { kernel, device, limits }.shape(&grid).is_ok();
            let is_plain = cluster == [0; 3] && kernel.meta.cluster == [0; 3];
            assert_eq!(quick, close && is_plain, "{grid:?} {kernel:?}");
            allowed += u32::from(quick);
            refused += u32::from(!quick);
        }
        assert!(allowed > 1000 && refused > 1000, "{allowed} allowed, {refused} refused");
    }
}
