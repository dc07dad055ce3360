//! A device's memory: blocks for buffers, above large pieces from the driver or
//! the host.
//!
//! - Each queue keeps the blocks that were freed on it in a [`cache`]: to allocate
//!   and free on one stream takes the queue's own lock, no other, and no driver
//!   call. Reuse is immediate, since the stream runs in order.
//! - Below lie two [`heap`]s, for blocks up to 1 MiB and for larger ones. A free
//!   range there remembers which work of which streams it still waits for
//!   ([`pending`]); a stream gets it when that work is its own or is known to have
//!   ended, and under pressure with a wait on the device.
//! - The heaps map memory from a [`source`] and stay within a limit.
//!
//! When there is no block: own cache, ranges whose work has ended, the caches of
//! the other queues, new memory, ranges that wait (the stream is made to wait for
//! them on the device), giving free pieces back and mapping them anew, the user's
//! hook, and then [`Error::OutOfMemory`].
//!
//! Lock order: a queue's `state`, then one heap, then any queue's `mark`. The hook
//! runs without locks.

mod cache;
mod heap;
mod ladder;
mod live;
mod pending;
mod report;
mod settings;
mod size;
mod source;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use raddle_cuda::{Attribute, Context};

pub(crate) use self::cache::{Block, Cache};
use self::heap::{Grant, Heap};
pub(crate) use self::ladder::Hook;
pub(crate) use self::live::Live;
use self::pending::State;
pub(crate) use self::pending::{Pending, Point};
pub use self::report::{Holder, MemoryPressure, MemoryUse, PoolState};
use self::settings::{Kind, Settings};
use self::size::Size;
use self::source::{Budget, CudaSegments, DeviceSource, HostSegments, SourceError, VirtualSpace};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::queue::{Queue, QueueState};
use crate::shelf::Shelf;
use crate::sync::lock;
use crate::timeline::{StreamId, Uses};

/// The memory of one device.
pub(crate) struct Pool {
    /// Blocks up to 1 MiB, and larger ones.
    small: Mutex<Heap<DeviceSource>>,
    large: Mutex<Heap<DeviceSource>>,
    budget: Arc<Budget>,
    /// Memory that the driver or the host's allocator gave for one buffer.
    direct: Live,
    counts: Counts,
    hook: Mutex<Option<Hook>>,
    /// Host memory that the device reaches.
    shelf: Shelf,
    kind: Kind,
    /// What is wrong with the settings; said at the first allocation.
    wrong_setting: Option<Error>,
}

/// How often the pool had to do what costs.
#[derive(Default)]
struct Counts {
    misses: AtomicU64,
    growths: AtomicU64,
    device_waits: AtomicU64,
    host_waits: AtomicU64,
    trims: AtomicU64,
}

/// A block for a new owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allocated {
    pub(crate) block: Block,
    /// Whether no work uses the memory any more; else the asking queue comes after
    /// all that does, and others have to wait for it.
    pub(crate) is_settled: bool,
    /// Whether it holds zeros.
    pub(crate) is_zero: bool,
}

impl Pool {
    /// The memory of the CPU device.
    pub(crate) fn for_host() -> Self {
        crate::profile::report_at_exit();
        let (settings, wrong) = Settings::from_env();
        let budget = Budget::new(settings.limit_bytes);
        let source = || DeviceSource::Host(HostSegments::new(&budget));
        let (small, large) = (source(), source());
        Self::new(budget, [small, large], settings, wrong)
    }

    /// The memory of a GPU.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub(crate) fn for_cuda(context: &Arc<Context>) -> Result<Self> {
        crate::profile::report_at_exit();
        let (settings, wrong) = Settings::from_env();
        let budget = Budget::new(settings.limit_bytes);
        let device = context.device();
        let is_virtual = device.attribute(Attribute::VirtualMemoryManagement).unwrap_or(0) == 1;
        let source = || -> Result<DeviceSource> {
            Ok(if is_virtual {
                DeviceSource::Virtual(VirtualSpace::new(context, &budget)?)
            } else {
                DeviceSource::Segments(CudaSegments::new(context, &budget))
            })
        };
        let (small, large) = (source()?, source()?);
        Ok(Self::new(budget, [small, large], settings, wrong))
    }

    fn new(
        budget: Arc<Budget>,
        [small, large]: [DeviceSource; 2],
        settings: Settings,
        wrong_setting: Option<Error>,
    ) -> Self {
        Self {
            small: Mutex::new(Heap::new(small)),
            large: Mutex::new(Heap::new(large)),
            budget,
            direct: Live::default(),
            counts: Counts::default(),
            hook: Mutex::default(),
            shelf: Shelf::default(),
            kind: settings.kind,
            wrong_setting,
        }
    }

    /// Notes memory that the driver or the host's allocator gave for one buffer.
    pub(crate) fn note_direct(&self, bytes: usize) -> Result<()> {
        self.wrong_setting.clone().map_or(Ok(()), Err)?;
        self.direct.add(bytes as u64);
        Ok(())
    }

    /// Notes that such memory is gone.
    pub(crate) fn forget_direct(&self, bytes: usize) {
        self.direct.remove(bytes as u64);
    }

    /// Whether buffers are allocated by the driver one by one, as asked for.
    pub(crate) fn is_direct(&self) -> bool {
        self.kind == Kind::Direct
    }

    /// A block for work that is enqueued on `queue` from now on.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfMemory`], [`Error::MemorySetting`], or a failed driver call.
    #[inline]
    pub(crate) fn allocate(
        &self,
        device: &Device,
        queue: &Queue,
        bytes: usize,
    ) -> Result<Allocated> {
        let size = Size::of(bytes as u64);
        let mut state = lock(&queue.state);
        if let Some(block) = state.cache.take(size) {
            drop(state);
            queue.live.add(block.bytes);
            return Ok(Allocated { block, is_settled: false, is_zero: false });
        }
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        let found = self.miss(device, queue, &mut state, size)?;
        drop(state);
        let found = match found {
            Some(found) => found,
            None => self.pressed(device, queue, size, bytes)?,
        };
        queue.live.add(found.block.bytes);
        Ok(found)
    }

    /// A block from the heap, with new memory below it if need be. `None` if there
    /// is no more memory to be had without waiting.
    #[cold]
    fn miss(
        &self,
        device: &Device,
        queue: &Queue,
        state: &mut QueueState,
        size: Size,
    ) -> Result<Option<Allocated>> {
        if let Some(error) = &self.wrong_setting {
            return Err(error.clone());
        }
        let mut look = Look::new(device, queue.id);
        let found = lock(self.heap(size)).take(size.bytes(), &mut |point| look.state(point));
        if let Some(grant) = found {
            return Ok(Some(look.allocated(grant)));
        }
        if state.cache.bytes() > 0 {
            self.take_back(queue, &mut state.cache);
        }
        let mut heap = lock(self.heap(size));
        heap.settle(&mut |point| look.state(point));
        if let Some(grant) = heap.take(size.bytes(), &mut |point| look.state(point)) {
            return Ok(Some(look.allocated(grant)));
        }
        self.grow(&mut heap, size, &mut look)
    }

    fn grow(
        &self,
        heap: &mut Heap<DeviceSource>,
        size: Size,
        look: &mut Look<'_>,
    ) -> Result<Option<Allocated>> {
        // An eighth more than there is, so that many small needs are few calls.
        let some = (self.budget.reserved_bytes() / 8).min(GROWTH_BYTES_MAX);
        let mut grown = heap.grow(size.bytes(), some, &mut |point| look.state(point));
        if matches!(grown, Err(SourceError::Full)) && some > size.bytes() {
            grown = heap.grow(size.bytes(), 0, &mut |point| look.state(point));
        }
        match grown {
            Ok(grant) => {
                self.counts.growths.fetch_add(1, Ordering::Relaxed);
                Ok(Some(look.allocated(grant)))
            }
            Err(SourceError::Full) => Ok(None),
            Err(SourceError::Driver(error)) => Err(error.into()),
        }
    }

    /// Takes back a block that `uses` tells of, without waiting. It was allocated
    /// on `home`.
    #[inline]
    pub(crate) fn free(&self, device: &Device, block: Block, uses: &Uses, home: StreamId) {
        let Some(user) = uses.only_user() else {
            device.queue(home).live.remove(block.bytes);
            let points = uses.all().into_iter();
            let pending =
                points.map(|entry| Point { stream: entry.stream, sequence: entry.sequence });
            return self.put(block, Pending::of(pending));
        };
        let queue = device.queue(user.unwrap_or(home));
        let owner = if queue.id == home { queue } else { device.queue(home) };
        owner.live.remove(block.bytes);
        let mut state = lock(&queue.state);
        if let Err(block) = state.cache.put(block) {
            let sequence = queue.enqueued.load(Ordering::Acquire);
            self.put(block, Pending::of([Point { stream: queue.id, sequence }]));
        }
    }

    /// Puts what a queue's cache holds into the heaps. The caller has the queue's
    /// lock.
    pub(crate) fn take_back(&self, queue: &Queue, cache: &mut Cache) {
        let sequence = queue.enqueued.load(Ordering::Acquire);
        let pending = Pending::of([Point { stream: queue.id, sequence }]);
        for block in cache.drain() {
            self.put(block, pending.clone());
        }
    }

    fn put(&self, block: Block, pending: Pending) {
        let heap = self.heap(Size::of(block.bytes));
        lock(heap).put(block.address, block.bytes, pending);
    }

    fn heap(&self, size: Size) -> &Mutex<Heap<DeviceSource>> {
        match size {
            Size::Small { .. } => &self.small,
            Size::Large { .. } => &self.large,
        }
    }

    /// Lets a peer's context reach the memory of this pool.
    pub(crate) fn open_to(&self, peer: raddle_cuda::Device) -> Result<()> {
        for heap in [&self.small, &self.large] {
            if let DeviceSource::Virtual(space) = lock(heap).source_mut() {
                space.open_to(peer)?;
            }
        }
        Ok(())
    }
}

/// What one stream sees of others' work. The driver is asked once about each.
struct Look<'a> {
    device: &'a Device,
    asking: StreamId,
    /// Up to where the work of each had ended when it was asked about.
    asked: Vec<(StreamId, u64)>,
}

impl<'a> Look<'a> {
    fn new(device: &'a Device, asking: StreamId) -> Self {
        Self { device, asking, asked: Vec::new() }
    }

    fn state(&mut self, point: Point) -> State {
        let queue = self.device.queue(point.stream);
        if queue.raw.is_none() || queue.signal.completed() >= point.sequence {
            return State::Ended;
        }
        if point.stream == self.asking {
            return State::Before;
        }
        let known = self.asked.iter().find(|asked| asked.0 == point.stream);
        let ended = match known {
            Some(&(_, ended)) => ended,
            None => {
                let ended = queue.probe_ended();
                self.asked.push((point.stream, ended));
                ended
            }
        };
        if ended >= point.sequence { State::Ended } else { State::UnderWay }
    }

    fn allocated(&mut self, grant: Grant) -> Allocated {
        let Grant { address, bytes, mut pending, is_zero } = grant;
        pending.prune(&mut |point| self.state(point));
        let is_settled = pending.is_settled();
        Allocated { block: Block { address, bytes }, is_settled, is_zero }
    }
}

/// Most memory that is mapped beyond what is asked for.
const GROWTH_BYTES_MAX: u64 = 128 << 20;

#[cfg(all(test, not(loom)))]
mod tests;
