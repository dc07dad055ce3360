//! The launch path: what is checked before the driver or the simulator sees a
//! launch, and handing it over.
//!
//! On a GPU a launch takes one lock, one table lookup, a handful of comparisons
//! and one driver call; it does not touch the heap.

use std::sync::atomic::Ordering;

use raddle_cuda::{FunctionAttribute, Shape};
use raddle_device::kernel::Kernel;

use crate::call::{Accesses, sealed};
use crate::cuda::CudaDevice;
use crate::device::{Device, Limits};
use crate::error::{Error, Result};
use crate::foreign::{ForeignCall, ForeignParams};
use crate::grid::Grid;
use crate::kernels::{Limited, Loaded};
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
    ) -> Result<()> {
        if params_bytes != kernel.meta.params_bytes as usize {
            let expected = kernel.meta.params_bytes as usize;
            return Err(Error::ParamsSize { kernel: kernel.name, expected, found: params_bytes });
        }
        let device = self.device();
        match &device.inner().cuda {
            Some(cuda) => {
                let loaded = cuda.kernels.get(device, kernel)?;
                let checked = Checked { kernel, device, limits: loaded.limits() };
                let mut shape = checked.shape(grid)?;
                if grid.is_empty {
                    return Ok(());
                }
                prepare(cuda, loaded, &mut shape)?;
                self.submit(kernel.name, accesses, |raw, _| {
                    let raw = raw.expect("queues of a GPU have a driver stream");
                    // SAFETY: the caller's contract; the shape is within what
                    // kernel and device allow.
                    Ok(unsafe { raw.launch(&loaded.function, &shape, params)? })
                })?;
                self.queue().note_launch(kernel);
                self.queue().touched.add(loaded.index);
            }
            None => {
                let limits = Limited { block_threads_max: u32::MAX, static_shared_bytes: 0 };
                let checked = Checked { kernel, device, limits };
                let shape = checked.shape(grid)?;
                if grid.is_empty {
                    return Ok(());
                }
                refuse_nested(kernel)?;
                self.submit(kernel.name, accesses, |_, _| {
                    // SAFETY: the caller's contract.
                    let ran = unsafe { run_on_cpu(kernel, &shape, params) };
                    self.queue().push_pending(ran.err());
                    Ok(())
                })?;
                self.queue().note_launch(kernel);
            }
        }
        Ok(())
    }
}

impl<P: ForeignParams> sealed::Call for ForeignCall<'_, P> {
    fn enqueue(self, stream: &Stream, grid: &Grid) -> Result<()> {
        let (kernel, device) = (self.kernel, stream.device());
        let limits = self.limits();
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
        let mut shape = Checked { kernel, device, limits }.shape(grid)?;
        if grid.is_empty {
            return Ok(());
        }
        prepare(cuda, &self.loaded, &mut shape)?;
        let mut pointers = P::pointers(&self.params);
        stream.submit(kernel.name, &self.accesses, |raw, _| {
            let raw = raw.expect("queues of a GPU have a driver stream");
            // SAFETY: whoever made the call vouches for the kernel; there is one
            // pointer for each parameter, to a value of its size.
            Ok(unsafe { raw.launch_with(&self.loaded.function, &shape, &mut pointers)? })
        })?;
        stream.queue().note_launch(kernel);
        Ok(())
    }
}

impl Queue {
    #[inline]
    fn note_launch(&self, kernel: &'static Kernel) {
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
    limits: Limited,
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
        if (0..3).any(|axis| grid.grid[axis] % cluster[axis] != 0) {
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

/// Raises what must be raised on the function before this shape can be launched.
#[inline]
fn prepare(cuda: &CudaDevice, loaded: &Loaded, shape: &mut Shape) -> Result<()> {
    if shape.dynamic_shared_bytes > loaded.dynamic_shared_bytes_max.load(Ordering::Acquire) {
        allow_shared(loaded, shape.dynamic_shared_bytes)?;
    }
    if shape.cluster != [0; 3]
        && shape.cluster.iter().product::<u32>() > PORTABLE_CLUSTER_BLOCKS_MAX
        && loaded.large_clusters.load(Ordering::Acquire) == 0
    {
        loaded.function.set_attribute(FunctionAttribute::NonPortableClusterSizeAllowed, 1)?;
        loaded.large_clusters.store(1, Ordering::Release);
    }
    // Before compute capability 9.0 a kernel always begins after the one ahead.
    shape.is_programmatic &= cuda.capability() >= (9, 0);
    Ok(())
}

#[cold]
fn allow_shared(loaded: &Loaded, bytes: u32) -> Result<()> {
    let value = i32::try_from(bytes).unwrap_or(i32::MAX);
    loaded.function.set_attribute(FunctionAttribute::MaxDynamicSharedBytes, value)?;
    loaded.dynamic_shared_bytes_max.fetch_max(bytes, Ordering::AcqRel);
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
        synchronizes: kernel.images.first().is_none_or(|image| image.synchronizes),
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
