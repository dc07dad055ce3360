//! The permanent side of streams: the queue behind a [`Stream`] handle, and the
//! table of all queues of a device.
//!
//! Queues are never destroyed while their device is open. A dropped stream only
//! gives its queue back, so that the number under which memory remembers its
//! uses stays good, and work in flight always has a queue to wait for.
//!
//! Lock order: a queue's `state`, then any queue's `mark`. No thread holds two
//! `state` locks.
//!
//! [`Stream`]: crate::Stream

use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use raddle_device::kernel::Kernel;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::panics::KernelSet;
use crate::staging::Chunk;
use crate::stream::StreamInner;
use crate::sync::lock;
use crate::timeline::{StreamId, Use};

/// A queue of work in order. What a launch needs comes first, close together.
#[repr(C)]
pub(crate) struct Queue {
    pub(crate) id: StreamId,
    /// `None` on the CPU, which does its work when it is enqueued.
    pub(crate) raw: Option<raddle_cuda::Stream>,
    /// Number of the last work whose enqueueing is done.
    pub(crate) enqueued: AtomicU64,
    /// The kernel launched last.
    pub(crate) last_kernel: AtomicPtr<Kernel>,
    /// Held while work is enqueued, so that numbers rise in the order in which
    /// the driver sees the work.
    pub(crate) state: Mutex<QueueState>,
    /// Kernels launched here, or on a queue waited for, whose panic records were
    /// not looked at since.
    pub(crate) touched: KernelSet,
    /// Number of the last work that is known to have ended.
    completed: AtomicU64,
    mark: Mutex<Mark>,
    /// The same for kernels that a thread is waiting for at the moment.
    pub(crate) settling: KernelSet,
    /// The stream that has the queue.
    pub(crate) owner: Mutex<Weak<StreamInner>>,
    /// For whoever next waits for this queue.
    pending: Errors,
    /// Of streams that were dropped before anybody waited for them.
    orphans: Errors,
}

/// Errors that nobody was told yet. Whoever uses memory that the queue used until
/// then is told as well.
#[derive(Default)]
struct Errors {
    /// Each with the number of the last work that it can concern.
    list: Mutex<Vec<(u64, Error)>>,
    is_any: AtomicBool,
}

impl Errors {
    fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    fn change<R>(&self, change: impl FnOnce(&mut Vec<(u64, Error)>) -> R) -> R {
        let mut list = lock(&self.list);
        let result = change(&mut list);
        list.truncate(ERRORS_LEN_MAX);
        self.is_any.store(!list.is_empty(), Ordering::Release);
        result
    }

    /// The errors that can concern work number `sequence`.
    fn concerning(&self, sequence: u64) -> Vec<Error> {
        let list = lock(&self.list);
        list.iter().filter(|entry| entry.0 >= sequence).map(|entry| entry.1.clone()).collect()
    }
}

/// What the thread that enqueues work needs.
#[derive(Default)]
pub(crate) struct QueueState {
    /// How far this queue has waited for others, by their ids.
    waited: Vec<(StreamId, u64)>,
    /// Pinned memory that copies from the host are going through.
    pub(crate) chunk: Option<Chunk>,
}

/// The event of a queue, recorded when another queue has to wait for it.
#[derive(Default)]
struct Mark {
    event: Option<raddle_cuda::Event>,
    /// The event's last record comes after the work of this number.
    sequence: u64,
}

impl Queue {
    fn new(device: &Device, id: StreamId) -> Result<Arc<Self>> {
        let raw = match &device.inner().cuda {
            Some(cuda) => Some(raddle_cuda::Stream::new(cuda.context(), 0)?),
            None => None,
        };
        Ok(Arc::new(Self {
            id,
            raw,
            state: Mutex::default(),
            enqueued: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            mark: Mutex::default(),
            touched: KernelSet::default(),
            settling: KernelSet::default(),
            owner: Mutex::default(),
            pending: Errors::default(),
            orphans: Errors::default(),
            last_kernel: AtomicPtr::default(),
        }))
    }

    /// Makes later work of this queue wait for `entry`, a use on another queue or
    /// by an earlier stream on this one.
    #[cold]
    pub(crate) fn wait_for(
        &self,
        state: &mut QueueState,
        device: &Device,
        entry: Use,
    ) -> Result<()> {
        let other = device.queue(entry.stream);
        if other.orphans.is_any() {
            self.push_pending(other.take_orphans(entry.sequence));
        }
        if entry.stream == self.id {
            return Ok(());
        }
        if other.pending.is_any() {
            self.push_pending(other.pending.concerning(entry.sequence));
        }
        let slot = match state.waited.binary_search_by_key(&entry.stream, |wait| wait.0) {
            Ok(slot) if state.waited[slot].1 >= entry.sequence => return Ok(()),
            Ok(slot) => slot,
            Err(slot) => {
                state.waited.insert(slot, (entry.stream, 0));
                slot
            }
        };
        self.touched.add_all(&other.touched);
        self.touched.add_all(&other.settling);
        if let (Some(raw), Some(other_raw)) = (&self.raw, &other.raw) {
            if other.completed.load(Ordering::Acquire) >= entry.sequence {
                return Ok(());
            }
            state.waited[slot].1 = other.make_wait(other_raw, raw, entry.sequence)?;
        }
        Ok(())
    }

    /// Makes `waiter` wait until work `sequence` of this queue has ended; returns
    /// the number that the wait really covers.
    fn make_wait(
        &self,
        raw: &raddle_cuda::Stream,
        waiter: &raddle_cuda::Stream,
        sequence: u64,
    ) -> Result<u64> {
        let mut guard = lock(&self.mark);
        let mark = &mut *guard;
        let event = match &mut mark.event {
            Some(event) => event,
            empty => empty.insert(raddle_cuda::Event::for_order(raw.context())?),
        };
        if mark.sequence < sequence {
            let tail = self.enqueued.load(Ordering::Acquire);
            assert!(tail >= sequence, "a use is noted after its work is enqueued");
            event.record(raw)?;
            mark.sequence = tail;
        }
        waiter.wait(event)?;
        Ok(mark.sequence)
    }

    /// Notes that everything up to `sequence` has ended.
    pub(crate) fn note_completed(&self, sequence: u64) {
        self.completed.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Keeps errors for whoever next waits for this queue.
    pub(crate) fn push_pending(&self, errors: impl IntoIterator<Item = Error>) {
        // They may concern the work that is being enqueued.
        let sequence = self.enqueued.load(Ordering::Acquire) + 1;
        let errors = errors.into_iter().map(|error| (sequence, error));
        self.pending.change(|pending| pending.extend(errors));
    }

    /// The first error kept, if any; the others are about work behind it and go.
    pub(crate) fn take_pending(&self) -> Option<Error> {
        if !self.pending.is_any() {
            return None;
        }
        self.pending.change(|pending| pending.drain(..).next()).map(|(_, error)| error)
    }

    /// Makes the queue, which has no work left, ready for another stream: errors
    /// that nobody asked for are kept for those who use the memory.
    fn retire(&self, device: &Device) {
        let mut error = None;
        if let Some(cuda) = &device.inner().cuda {
            let watch = cuda.board.begin_wait(self);
            error = cuda.board.end_wait(device, self, &watch);
        }
        let pending = self.take_pending();
        if let Some(error) = error.or(pending) {
            let sequence = self.enqueued.load(Ordering::Acquire);
            self.orphans.change(|orphans| orphans.insert(0, (sequence, error)));
        }
    }

    /// The errors of dropped streams that can concern work number `sequence`.
    #[cold]
    fn take_orphans(&self, sequence: u64) -> Vec<Error> {
        let concerns = |orphan: &mut (u64, Error)| orphan.0 >= sequence;
        let taken = |orphans: &mut Vec<_>| orphans.extract_if(.., concerns).collect::<Vec<_>>();
        self.orphans.change(taken).into_iter().map(|(_, error)| error).collect()
    }

    fn is_idle(&self) -> bool {
        self.raw.as_ref().is_none_or(|raw| raw.is_idle().unwrap_or(false))
    }
}

/// Errors kept for one queue at most.
const ERRORS_LEN_MAX: usize = 16;

const SEGMENT_LEN: usize = 256;
const SEGMENTS: usize = 256;

type Segment = Box<[OnceLock<Arc<Queue>>]>;

/// All queues of a device, by id, read without a lock.
pub(crate) struct Queues {
    segments: Box<[OnceLock<Segment>]>,
    alloc: Mutex<Allocation>,
}

#[derive(Default)]
struct Allocation {
    /// The highest id in use; id 1 is the default queue.
    last: u16,
    /// Queues whose streams were dropped.
    free: Vec<Arc<Queue>>,
}

impl Default for Queues {
    fn default() -> Self {
        let segments = (0..SEGMENTS).map(|_| OnceLock::new()).collect();
        Self { segments, alloc: Mutex::default() }
    }
}

impl Queues {
    /// The queue of an id that was noted somewhere.
    pub(crate) fn get(&self, id: StreamId) -> &Arc<Queue> {
        self.try_get(id).expect("an id is noted only for a queue of this device")
    }

    fn try_get(&self, id: StreamId) -> Option<&Arc<Queue>> {
        let id = usize::from(id.0);
        self.segments[id / SEGMENT_LEN].get()?[id % SEGMENT_LEN].get()
    }

    /// Every queue made so far.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Queue>> {
        let last = lock(&self.alloc).last;
        (1..=last).filter_map(|id| self.try_get(StreamId(id)))
    }

    pub(crate) fn default_queue(&self, device: &Device) -> Result<Arc<Queue>> {
        let mut alloc = lock(&self.alloc);
        if let Some(queue) = self.try_get(StreamId(1)) {
            return Ok(Arc::clone(queue));
        }
        self.make(device, &mut alloc)
    }

    /// A queue that nobody has: an idle one that was given back, else a new one.
    pub(crate) fn lease(&self, device: &Device) -> Result<Arc<Queue>> {
        self.default_queue(device)?;
        let Some(queue) = self.take_free() else {
            return self.make(device, &mut lock(&self.alloc));
        };
        // Without a lock: the panic board looks at all queues.
        if let Some(raw) = &queue.raw {
            raw.synchronize()?;
        }
        queue.retire(device);
        Ok(queue)
    }

    /// A queue that was given back: one without work or, when there are as many
    /// streams as there can be, any.
    fn take_free(&self) -> Option<Arc<Queue>> {
        let mut alloc = lock(&self.alloc);
        let idle = alloc.free.iter().take(FREE_LOOKED_AT_MAX).position(|queue| queue.is_idle());
        match idle {
            Some(position) => Some(alloc.free.remove(position)),
            None if alloc.last == u16::MAX => alloc.free.pop(),
            None => None,
        }
    }

    /// Takes back the queue of a dropped stream.
    pub(crate) fn give_back(&self, device: &Device, queue: Arc<Queue>) {
        let chunk = lock(&queue.state).chunk.take();
        if let (Some(cuda), Some(raw), Some(chunk)) = (&device.inner().cuda, &queue.raw, chunk) {
            cuda.staging.give_back(raw, chunk);
        }
        lock(&self.alloc).free.push(queue);
    }

    fn make(&self, device: &Device, alloc: &mut Allocation) -> Result<Arc<Queue>> {
        let Some(id) = alloc.last.checked_add(1) else {
            let kernel = "a new stream";
            let (what, max) = ("streams alive", u64::from(u16::MAX));
            let limit_of = device.to_string();
            return Err(Error::LaunchLimit { kernel, what, min: 0, max, found: max + 1, limit_of });
        };
        let queue = Queue::new(device, StreamId(id))?;
        let segment = self.segments[usize::from(id) / SEGMENT_LEN]
            .get_or_init(|| (0..SEGMENT_LEN).map(|_| OnceLock::new()).collect());
        let slot = &segment[usize::from(id) % SEGMENT_LEN];
        assert!(slot.set(Arc::clone(&queue)).is_ok(), "ids are given out once");
        alloc.last = id;
        Ok(queue)
    }
}

/// How many given-back queues are asked whether they are idle before a new one
/// is made.
const FREE_LOOKED_AT_MAX: usize = 8;
