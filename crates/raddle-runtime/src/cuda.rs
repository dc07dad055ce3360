//! The GPU side of a device: its context, its memory pool, the kernels loaded on
//! it and their panic records.

use std::sync::{Arc, Mutex};

use raddle_cuda::{Attribute, Context, Pool, Status};

use crate::cache::Cache;
use crate::completion::poller::Poller;
use crate::completion::{Source, Words};
use crate::error::Result;
use crate::kernels::KernelTable;
use crate::panics::PanicBoard;
use crate::queue::WatchedQueue;
use crate::staging::Staging;
use crate::sync::lock;

/// A GPU that is in use.
pub(crate) struct CudaDevice {
    // Fields are dropped in order: the context goes last.
    pub(crate) kernels: KernelTable,
    pub(crate) board: Arc<PanicBoard>,
    pub(crate) cache: Cache,
    pub(crate) staging: Staging,
    /// For buffers that are allocated one by one; `None` where the driver or device
    /// has no stream-ordered allocation.
    pool: Option<Pool>,
    /// Looks after everything that is awaited.
    pub(crate) poller: Poller<WatchedQueue>,
    /// Where queues say how far they have come.
    words: Words,
    /// Whether streams can write words.
    has_stream_writes: bool,
    /// Carries the small writes that belong to no user's stream.
    service: Mutex<raddle_cuda::Stream>,
    capability: (u32, u32),
    context: Arc<Context>,
}

impl CudaDevice {
    pub(crate) fn open(device: raddle_cuda::Device) -> Result<Self> {
        let capability = device.compute_capability()?;
        let context = Context::retain_primary(device)?;
        let has_pools = device.attribute(Attribute::MemoryPoolsSupported).unwrap_or(0) == 1;
        let pool = if has_pools { Some(Pool::new(&context)?) } else { None };
        let service = Mutex::new(raddle_cuda::Stream::new(&context, 0)?);
        // The function came with CUDA 11.7; the attribute is of the same age.
        let has_stream_writes = device.driver().version() >= (11, 7)
            && device.attribute(Attribute::StreamMemOps64).unwrap_or(0) == 1;
        Ok(Self {
            kernels: KernelTable::default(),
            board: Arc::default(),
            cache: Cache::from_env(device.driver(), capability),
            staging: Staging::default(),
            pool,
            poller: Poller::default(),
            words: Words::default(),
            has_stream_writes,
            service,
            capability,
            context,
        })
    }

    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(crate) fn capability(&self) -> (u32, u32) {
        self.capability
    }

    /// How the queue numbered `index` says how far it has come.
    pub(crate) fn completion_source(&self, index: usize) -> Result<Source> {
        if self.has_stream_writes {
            self.words.get(&self.context, index)
        } else {
            Ok(Source::events())
        }
    }

    /// A mark on the device's clock, reached by the time this returns.
    pub(crate) fn mark(&self) -> Result<raddle_cuda::Event> {
        let service = lock(&self.service);
        let event = raddle_cuda::Event::for_timing(&self.context)?;
        event.record(&service)?;
        event.synchronize()?;
        Ok(event)
    }

    /// Allocates for work that is enqueued later on `stream`; waits for pending
    /// frees and gives the pool's reserve back to the device before it gives up.
    pub(crate) fn allocate(
        &self,
        bytes: usize,
        stream: &raddle_cuda::Stream,
    ) -> Result<u64, raddle_cuda::Error> {
        match self.allocate_once(bytes, stream) {
            Err(error) if error.status() == Some(Status::OUT_OF_MEMORY) => {
                self.context.synchronize()?;
                if let Some(pool) = &self.pool {
                    pool.trim(0)?;
                }
                self.allocate_once(bytes, stream)
            }
            result => result,
        }
    }

    fn allocate_once(
        &self,
        bytes: usize,
        stream: &raddle_cuda::Stream,
    ) -> Result<u64, raddle_cuda::Error> {
        match &self.pool {
            Some(pool) => pool.allocate(bytes, stream),
            None => raddle_cuda::allocate_blocking(&self.context, bytes),
        }
    }

    /// Frees memory of [`CudaDevice::allocate`] behind the work on `stream`.
    ///
    /// # Safety
    ///
    /// No work uses the memory but what `stream` has been made to wait for.
    pub(crate) unsafe fn free(
        &self,
        address: u64,
        stream: &raddle_cuda::Stream,
    ) -> Result<(), raddle_cuda::Error> {
        match &self.pool {
            // SAFETY: the caller's contract; the address came from this pool.
            Some(pool) => unsafe { pool.free(address, stream) },
            // SAFETY: as above; the driver waits for the device first.
            None => unsafe { raddle_cuda::free_blocking(&self.context, address) },
        }
    }
}
