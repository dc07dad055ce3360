//! Devices: the GPUs of this machine and the CPU, behind one type.
//!
//! A device is opened once for the process and stays open until its end, or until
//! [`shutdown`](crate::shutdown); a [`Device`] is a cheap handle. The CPU device has
//! the limits of a compute capability 9.0 GPU, so that a launch it accepts has a GPU
//! that accepts it too.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use raddle_cuda::Attribute;

use crate::cuda::CudaDevice;
use crate::error::{Error, Result};
use crate::graph::table::GraphTable;
use crate::pool::Pool;
use crate::queue::{Queue, Queues};
use crate::stream::Stream;
use crate::sync::lock;
use crate::timeline::StreamId;

/// Something that runs kernels: a GPU, or the CPU.
#[derive(Clone)]
pub struct Device {
    inner: Arc<DeviceInner>,
}

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The CPU, through the simulator.
    Cpu,
    /// The GPU of this number.
    Cuda(u32),
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

pub(crate) struct DeviceInner {
    pub(crate) kind: DeviceKind,
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) queues: Queues,
    /// What graphs hold, and how their replays are ordered.
    pub(crate) graphs: GraphTable,
    /// Why the device is lost, once it is.
    pub(crate) lost: OnceLock<Error>,
    pub(crate) pool: Pool,
    /// `None` on the CPU.
    pub(crate) cuda: Option<CudaDevice>,
}

/// What a device allows of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Blocks of a grid along each axis.
    pub grid: [u32; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Threads of a block.
    pub block_threads: u32,
    /// Shared memory of a block in bytes, static and dynamic together.
    pub shared_bytes: usize,
    /// Blocks of a cluster; 1 where clusters do not exist.
    pub cluster_blocks: u32,
    /// Threads of a warp.
    pub warp: u32,
    /// Multiprocessors; for the CPU, hardware threads.
    pub multiprocessors: u32,
    /// Threads resident on a multiprocessor.
    pub multiprocessor_threads: u32,
    /// Size of the L2 cache in bytes; 0 if unknown.
    pub l2_bytes: usize,
}

/// Memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are free.
    pub free_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
}

static CPU: OnceLock<Device> = OnceLock::new();
static CUDA: Mutex<Vec<Device>> = Mutex::new(Vec::new());

impl Device {
    /// The device to use when nothing else is said: the one that `RADDLE_DEVICE`
    /// names (`cpu`, `cuda` or `cuda:N`), else the first GPU, else the CPU.
    ///
    /// ## Errors
    ///
    /// [`Error::DeviceSetting`] if `RADDLE_DEVICE` names no device; what
    /// [`Device::cuda`] returns if it names a GPU, or if there is an NVIDIA
    /// driver that does not work, or `RADDLE_CUDA_LIBRARY` names none. Only a
    /// machine without a driver or without a GPU falls back to the CPU.
    pub fn best() -> Result<Self> {
        match std::env::var("RADDLE_DEVICE") {
            Ok(setting) if !setting.is_empty() => Self::from_setting(&setting),
            _ => match raddle_cuda::Driver::load().and_then(|driver| driver.device_count()) {
                Ok(0) => Ok(Self::cpu()),
                Ok(_) => Self::cuda(0),
                Err(error) if error.is_absent() && !is_library_named() => Ok(Self::cpu()),
                Err(error) => Err(error.into()),
            },
        }
    }

    fn from_setting(setting: &str) -> Result<Self> {
        let setting = setting.trim();
        match setting {
            "cpu" => Ok(Self::cpu()),
            "cuda" => Self::cuda(0),
            _ => match setting.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Self::cuda(ordinal),
                _ => Err(Error::DeviceSetting { found: setting.to_owned() }),
            },
        }
    }

    /// Every usable GPU, then the CPU.
    #[must_use]
    pub fn list() -> Vec<Self> {
        let count = raddle_cuda::Driver::load().and_then(|driver| driver.device_count());
        let gpus = (0..count.unwrap_or(0)).filter_map(|ordinal| Self::cuda(ordinal).ok());
        gpus.chain([Self::cpu()]).collect()
    }

    /// The CPU.
    #[must_use]
    pub fn cpu() -> Self {
        CPU.get_or_init(Self::new_cpu).clone()
    }

    /// Another CPU device, with streams and memory of its own.
    pub(crate) fn new_cpu() -> Self {
        raddle_cuda::fork::watch();
        crate::trace::start_from_environment();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let multiprocessors = u32::try_from(threads).unwrap_or(u32::MAX);
        Self {
            inner: Arc::new(DeviceInner {
                kind: DeviceKind::Cpu,
                name: cpu_name(),
                limits: Limits { multiprocessors, ..CPU_LIMITS },
                queues: Queues::default(),
                lost: OnceLock::new(),
                graphs: GraphTable::default(),
                pool: Pool::for_host(),
                cuda: None,
            }),
        }
    }

    /// The GPU of this number, counted from 0 as the driver lists them.
    ///
    /// ## Errors
    ///
    /// [`Error::NoGpu`] without a driver, [`Error::NoSuchDevice`] beyond the last
    /// GPU, [`Error::Cuda`] if the driver or the GPU does not work.
    pub fn cuda(ordinal: u32) -> Result<Self> {
        let mut open = lock(&CUDA);
        if let Some(device) = open.iter().find(|d| d.kind() == DeviceKind::Cuda(ordinal)) {
            return Ok(device.clone());
        }
        let device = Self::open_cuda(ordinal)?;
        open.push(device.clone());
        Ok(device)
    }

    /// Opens the GPU anew after `reset`, in this device's place.
    pub(crate) fn reopen(&self, reset: &dyn Fn() -> Result<()>) -> Result<Self> {
        let mut open = lock(&CUDA);
        let DeviceKind::Cuda(ordinal) = self.kind() else { return Ok(self.clone()) };
        if let Some(place) = open.iter_mut().find(|device| device.kind() == self.kind()) {
            if !place.is_same(self) && !place.is_lost() {
                return Ok(place.clone());
            }
            reset()?;
            *place = Self::open_cuda(ordinal)?;
            return Ok(place.clone());
        }
        unreachable!("an open GPU is in the list")
    }

    fn open_cuda(ordinal: u32) -> Result<Self> {
        crate::trace::start_from_environment();
        let no_gpu = |error: raddle_cuda::Error| {
            if error.is_absent() {
                Error::NoGpu { reason: error.to_string() }
            } else {
                error.into()
            }
        };
        let driver = raddle_cuda::Driver::load().map_err(no_gpu)?;
        let count = driver.device_count().map_err(no_gpu)?;
        if ordinal >= count {
            return Err(Error::NoSuchDevice { ordinal, count });
        }
        let raw = raddle_cuda::Device::get(driver, ordinal)?;
        let cuda = CudaDevice::open(raw)?;
        crate::shutdown::close_at_exit();
        Ok(Self {
            inner: Arc::new(DeviceInner {
                kind: DeviceKind::Cuda(ordinal),
                name: raw.name()?,
                limits: cuda_limits(raw)?,
                queues: Queues::default(),
                lost: OnceLock::new(),
                graphs: GraphTable::default(),
                pool: Pool::for_cuda(cuda.context())?,
                cuda: Some(cuda),
            }),
        })
    }

    /// The GPUs that this process has open.
    pub(crate) fn open_gpus() -> Vec<Self> {
        lock(&CUDA).clone()
    }

    /// Closes the GPUs of which nobody but the list has a handle.
    pub(crate) fn close_unused() -> Result<()> {
        let mut open = lock(&CUDA);
        // With the lock nobody gets a first handle; who has one has more than one.
        let unused: Vec<Self> =
            open.extract_if(.., |device| Arc::strong_count(&device.inner) == 1).collect();
        let in_use = open.first().map(|device| Error::DeviceInUse {
            device: device.to_string(),
            handles: Arc::strong_count(&device.inner) - 1,
        });
        // Under the lock: who opens one again comes after its end.
        drop(unused);
        drop(open);
        in_use.map_or(Ok(()), Err)
    }

    /// The devices that this process has opened.
    pub(crate) fn open_ones() -> Vec<Self> {
        CPU.get().into_iter().cloned().chain(lock(&CUDA).iter().cloned()).collect()
    }

    /// What the device is.
    #[must_use]
    pub fn kind(&self) -> DeviceKind {
        self.inner.kind
    }

    /// Whether the device is a GPU.
    #[must_use]
    pub fn is_gpu(&self) -> bool {
        self.inner.cuda.is_some()
    }

    /// The product's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The compute capability of a GPU, as in (9, 0).
    #[must_use]
    pub fn compute_capability(&self) -> Option<(u32, u32)> {
        self.inner.cuda.as_ref().map(CudaDevice::capability)
    }

    /// What the device allows of a launch.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Multiprocessors of a GPU; hardware threads of the CPU.
    #[must_use]
    pub fn multiprocessor_count(&self) -> u32 {
        self.inner.limits.multiprocessors
    }

    /// Free memory and all memory. For the CPU, the operating system's numbers,
    /// or zeros where it does not tell.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn memory(&self) -> Result<Memory> {
        match &self.inner.cuda {
            Some(cuda) => {
                let (free_bytes, total_bytes) = cuda.context().memory_bytes()?;
                Ok(Memory { free_bytes, total_bytes })
            }
            None => Ok(host_memory()),
        }
    }

    /// A stream of its own: work on it runs in order, beside other streams.
    /// Streams are pooled: one that was dropped and has no work left is taken
    /// again before a new one is made.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn stream(&self) -> Result<Stream> {
        self.lease_stream(0)
    }

    fn lease_stream(&self, priority: i32) -> Result<Stream> {
        let queue = self.inner.queues.lease(self, priority);
        let queue = queue.map_err(|error| self.with_loss(error))?;
        Ok(Stream::lease(self.clone(), queue))
    }

    /// How many priorities streams can have above the default, 0.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn stream_priority_max(&self) -> Result<u32> {
        match &self.inner.cuda {
            // Lower numbers run first; the default is 0.
            Some(cuda) => Ok(cuda.context().stream_priorities()?.1.min(0).unsigned_abs()),
            None => Ok(CPU_PRIORITY_MAX),
        }
    }

    /// A stream whose blocks the device takes up before those of streams of lower
    /// priority: 0 is the default, [`Device::stream_priority_max`] the highest.
    /// The CPU device, which does work as it is enqueued, takes no notice.
    ///
    /// ## Errors
    ///
    /// [`Error::StreamPriority`] above the highest, or a failed driver call.
    pub fn stream_with_priority(&self, priority: u32) -> Result<Stream> {
        let max = self.stream_priority_max()?;
        if priority > max {
            let device = self.to_string();
            return Err(Error::StreamPriority { device, max, found: priority });
        }
        self.lease_stream(-priority.cast_signed())
    }

    /// The device's own stream, the same at every call.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn default_stream(&self) -> Result<Stream> {
        let queue = self.inner.queues.default_queue(self);
        let queue = queue.map_err(|error| self.with_loss(error))?;
        Ok(Stream::shared(self.clone(), queue))
    }

    /// The driver's side of a GPU, for what this crate does not offer.
    #[must_use]
    pub fn cuda_context(&self) -> Option<&Arc<raddle_cuda::Context>> {
        self.inner.cuda.as_ref().map(CudaDevice::context)
    }

    pub(crate) fn inner(&self) -> &DeviceInner {
        &self.inner
    }

    #[inline]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    pub(crate) fn queue(&self, id: StreamId) -> &Arc<Queue> {
        self.inner.queues.get(id)
    }
}

impl Drop for DeviceInner {
    fn drop(&mut self) {
        if let Some(cuda) = &self.cuda {
            // What is given back now must not be in use; a lost device does nothing.
            let _ = cuda.context().synchronize();
        }
    }
}

impl PartialEq for Device {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other)
    }
}

impl Eq for Device {}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind(), self.name())
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({self})")
    }
}

/// Whether somebody said which driver to use, and so wants a GPU.
fn is_library_named() -> bool {
    std::env::var_os("RADDLE_CUDA_LIBRARY").is_some()
}

fn cuda_limits(raw: raddle_cuda::Device) -> Result<Limits> {
    let get = |attribute| raw.attribute(attribute).map(i32::unsigned_abs);
    let has_clusters = get(Attribute::ClusterLaunch).unwrap_or(0) == 1;
    Ok(Limits {
        grid: [
            get(Attribute::MaxGridDimX)?,
            get(Attribute::MaxGridDimY)?,
            get(Attribute::MaxGridDimZ)?,
        ],
        block: [
            get(Attribute::MaxBlockDimX)?,
            get(Attribute::MaxBlockDimY)?,
            get(Attribute::MaxBlockDimZ)?,
        ],
        block_threads: get(Attribute::MaxThreadsPerBlock)?,
        shared_bytes: get(Attribute::MaxSharedMemoryPerBlockOptin)? as usize,
        cluster_blocks: if has_clusters { CLUSTER_BLOCKS_MAX } else { 1 },
        warp: get(Attribute::WarpSize)?,
        multiprocessors: get(Attribute::MultiprocessorCount)?,
        multiprocessor_threads: get(Attribute::MaxThreadsPerMultiprocessor)?,
        l2_bytes: get(Attribute::L2CacheSize)? as usize,
    })
}

/// The CPU's product name where the operating system tells it.
fn cpu_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let name = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or(std::env::consts::ARCH).to_owned()
}

fn host_memory() -> Memory {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let bytes = |field: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().ok()?;
        Some(kib * 1024)
    };
    Memory {
        free_bytes: bytes("MemAvailable:").unwrap_or(0),
        total_bytes: bytes("MemTotal:").unwrap_or(0),
    }
}

/// Priorities of streams on the CPU device, as on GPUs of capability 9.0.
const CPU_PRIORITY_MAX: u32 = 5;

/// Largest cluster that compute capability 9.0 allows (the non-portable limit).
const CLUSTER_BLOCKS_MAX: u32 = 16;

/// The limits of compute capability 9.0 (CUDA C++ programming guide, "Compute
/// Capabilities").
const CPU_LIMITS: Limits = Limits {
    grid: [(1 << 31) - 1, 65_535, 65_535],
    block: [1024, 1024, 64],
    block_threads: 1024,
    shared_bytes: 227 << 10,
    cluster_blocks: CLUSTER_BLOCKS_MAX,
    warp: 32,
    multiprocessors: 1,
    multiprocessor_threads: 2048,
    l2_bytes: 0,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_devices_or_are_refused() {
        assert_eq!(Device::from_setting("cpu").unwrap().kind(), DeviceKind::Cpu);
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            let error = Device::from_setting(wrong).unwrap_err();
            assert!(matches!(&error, Error::DeviceSetting { found } if found == wrong), "{error}");
        }
        if Device::list().len() == 1 {
            assert!(Device::from_setting("cuda:0").is_err());
        }
    }

    #[test]
    fn the_cpu_is_always_there_and_is_one_device() {
        let cpu = Device::cpu();
        assert_eq!(cpu, Device::list().pop().unwrap());
        assert!(!cpu.name().is_empty() && !cpu.is_gpu());
        assert_eq!(cpu.compute_capability(), None);
        assert!(cpu.multiprocessor_count() >= 1);
    }
}
