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
use std::sync::{Arc, Mutex, OnceLock, TryLockError, Weak};

use raddle_device::kernel::Kernel;

use crate::completion::poller::Watched;
use crate::completion::signal::{Signal, Woken};
use crate::completion::{Point, Source};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fault::ErrorLog;
use crate::graph::record::Recording;
use crate::harvest::Sources;
use crate::panics::PanicSlot;
use crate::pool::Live;
use crate::staging::Chunk;
use crate::stream::StreamInner;
use crate::sync::lock;
use crate::timeline::{AtomicLease, Lease, StreamId, Use};

/// A queue of work in order. What a launch needs comes first, close together.
#[repr(C, align(128))]
pub(crate) struct Queue {
    pub(crate) id: StreamId,
    /// `None` on the CPU, which does its work when it is enqueued.
    pub(crate) raw: Option<raddle_cuda::Stream>,
    /// Number of the last work whose enqueueing is done.
    pub(crate) enqueued: AtomicU64,
    /// The kernel launched last.
    pub(crate) last_kernel: AtomicPtr<Kernel>,
    /// What went wrong in the queue's work.
    pub(crate) errors: ErrorLog,
    /// Where panics of the queue's launches go, on a GPU.
    pub(crate) panics: Option<PanicSlot>,
    /// Held while work is enqueued, so that numbers rise in the order in which
    /// the driver sees the work.
    pub(crate) state: Mutex<QueueState>,
    /// What is handed out of the memory that was allocated here.
    pub(crate) live: Live,
    /// How far the queue has come, and who awaits it.
    pub(crate) signal: Signal,
    source: Source,
    /// Work up to this number makes the source move when it ends.
    marked: AtomicU64,
    /// Whether the poller has the queue.
    pub(crate) is_watched: AtomicBool,
    /// Whether the queue is being captured into a graph.
    is_capturing: AtomicBool,
    /// Where else to look for what went wrong.
    pub(crate) sources: Mutex<Sources>,
    pub(crate) has_sources: AtomicBool,
    mark: Mutex<Mark>,
    /// The stream that has the queue, and what memory knows it by.
    pub(crate) owner: Mutex<Weak<StreamInner>>,
    lease: AtomicLease,
    /// The driver's priority of the queue.
    priority: i32,
}

/// What the thread that enqueues work needs.
#[derive(Default)]
pub(crate) struct QueueState {
    /// How far this queue has waited for others, by their ids.
    waited: Vec<(StreamId, u64)>,
    /// Pinned memory that copies from the host are going through.
    pub(crate) chunk: Option<Chunk>,
    /// The capture under way.
    pub(crate) recording: Option<Box<Recording>>,
    /// Memory that was freed here.
    pub(crate) cache: crate::pool::Cache,
}

/// The event of a queue, recorded when another queue has to wait for it.
#[derive(Default)]
struct Mark {
    event: Option<raddle_cuda::Event>,
    /// The event's last record comes after the work of this number.
    sequence: u64,
}

impl Queue {
    fn new(device: &Device, id: StreamId, priority: i32) -> Result<Arc<Self>> {
        let (raw, panics, source) = match &device.inner().cuda {
            Some(cuda) => {
                let raw = raddle_cuda::Stream::new(cuda.context(), priority)?;
                let source = cuda.completion_source(usize::from(id.0))?;
                (Some(raw), Some(cuda.board.take(cuda)?), source)
            }
            None => (None, None, Source::Immediate),
        };
        Ok(Arc::new(Self {
            id,
            raw,
            state: Mutex::default(),
            enqueued: AtomicU64::new(0),
            live: Live::default(),
            signal: Signal::default(),
            source,
            marked: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            is_capturing: AtomicBool::new(false),
            sources: Mutex::default(),
            has_sources: AtomicBool::new(false),
            mark: Mutex::default(),
            owner: Mutex::default(),
            lease: AtomicLease::default(),
            errors: ErrorLog::default(),
            panics,
            last_kernel: AtomicPtr::default(),
            priority,
        }))
    }

    /// What memory knows the stream by that has the queue now.
    #[inline]
    pub(crate) fn lease(&self) -> Lease {
        self.lease.get()
    }

    /// A lease for the next stream that has the queue.
    pub(crate) fn renew_lease(&self) -> Lease {
        self.lease.renew()
    }

    /// Whether the queue is being captured into a graph.
    #[inline]
    pub(crate) fn is_capturing(&self) -> bool {
        self.is_capturing.load(Ordering::Acquire)
    }

    pub(crate) fn set_capturing(&self, is_capturing: bool) {
        self.is_capturing.store(is_capturing, Ordering::Release);
    }

    /// Refuses `operation` if the queue is being captured.
    pub(crate) fn refuse_capture(&self, operation: &'static str) -> Result<()> {
        if self.is_capturing() { Err(crate::graph::captured(operation)) } else { Ok(()) }
    }

    /// The point behind everything enqueued so far.
    pub(crate) fn point(&self) -> Point {
        let serial = self.errors.serial();
        Point { sequence: self.enqueued.load(Ordering::Acquire), serial }
    }

    /// Whether everything enqueued is known to have ended.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.signal.completed() >= self.enqueued.load(Ordering::Acquire)
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
        let is_self = entry.stream == self.id;
        // Those that come up later are told when this queue's work has ended.
        let serial = other.errors.serial();
        if other.errors.is_any() && !entry.is_handover {
            // They concern the work that is being enqueued.
            let sequence = self.enqueued.load(Ordering::Acquire);
            let sequences = entry.sequence..=entry.sequence;
            for error in other.errors.concerning(sequences, None, is_self) {
                self.errors.push(sequence, sequence + 1, error);
            }
        }
        if is_self {
            return Ok(());
        }
        let is_under_way = other.raw.is_some() && other.signal.completed() < entry.sequence;
        if is_under_way && !entry.is_handover {
            self.depend_on(entry, serial);
        }
        let slot = match state.waited.binary_search_by_key(&entry.stream, |wait| wait.0) {
            Ok(slot) if state.waited[slot].1 >= entry.sequence => return Ok(()),
            Ok(slot) => slot,
            Err(slot) => {
                state.waited.insert(slot, (entry.stream, 0));
                slot
            }
        };
        if let (Some(raw), Some(other_raw)) = (&self.raw, &other.raw) {
            if other.signal.completed() >= entry.sequence {
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

    /// Makes later work of this queue wait, on the device, until work `sequence` of
    /// another queue has ended: for memory that changes hands. What went wrong in
    /// that work is not told here. The caller holds this queue's lock.
    pub(crate) fn wait_on_device(
        &self,
        device: &Device,
        stream: StreamId,
        sequence: u64,
    ) -> Result<()> {
        let other = device.queue(stream);
        if let (Some(raw), Some(other_raw)) = (&self.raw, &other.raw)
            && other.signal.completed() < sequence
        {
            other.make_wait(other_raw, raw, sequence)?;
        }
        Ok(())
    }

    /// Number of the last work that is known to have ended when the driver was asked
    /// just now. It does not look at what went wrong.
    pub(crate) fn probe_ended(&self) -> u64 {
        let Some(raw) = &self.raw else { return u64::MAX };
        let tail = self.enqueued.load(Ordering::Acquire);
        let known = self.signal.completed().max(self.observe().unwrap_or(0));
        if known >= tail || raw.is_idle().unwrap_or(false) {
            return known.max(tail);
        }
        let mark = lock(&self.mark);
        let is_reached = |event: &raddle_cuda::Event| event.is_reached().unwrap_or(false);
        let marked = mark.event.as_ref().filter(|&event| is_reached(event));
        marked.map_or(known, |_| known.max(mark.sequence))
    }

    /// Has the queue say when work `sequence`, which is enqueued, has ended.
    pub(crate) fn arm(&self, sequence: u64) -> Result<()> {
        self.refuse_capture("waiting")?;
        let Some(raw) = &self.raw else { return Ok(()) };
        let is_armed = || self.marked.load(Ordering::Acquire) >= sequence;
        if is_armed() || self.signal.completed() >= sequence {
            return Ok(());
        }
        let _state = lock(&self.state);
        if !is_armed() {
            // The numbers of all that the driver has seen, under the lock.
            let tail = self.enqueued.load(Ordering::Acquire);
            self.source.mark(raw, tail)?;
            self.marked.store(tail, Ordering::Release);
        }
        Ok(())
    }

    /// Has the device's poller look after this queue's waiters.
    pub(crate) fn watch(self: &Arc<Self>, device: &Device) -> Result<()> {
        let Some(cuda) = &device.inner().cuda else { return Ok(()) };
        let watched = || WatchedQueue { device: device.clone(), queue: Arc::clone(self) };
        let watching = cuda.poller.watch(&self.is_watched, watched);
        watching.map_err(|error| Error::Thread { reason: error.to_string() })
    }

    /// Keeps `value` until work `sequence`, which is enqueued, has ended.
    pub(crate) fn keep_until(
        self: &Arc<Self>,
        device: &Device,
        sequence: u64,
        value: Box<dyn Send>,
    ) {
        // If the queue cannot say when, the next wait for it will.
        if self.signal.keep(sequence, value) && self.arm(sequence).is_ok() {
            let _ = self.watch(device);
        }
    }

    /// How far the queue has come, as it says itself.
    pub(crate) fn observe(&self) -> Result<u64, raddle_cuda::Error> {
        self.source.observe()
    }

    /// Notes that work up to `completed` has ended and looks at what went wrong in
    /// it; takes out who waited for it.
    pub(crate) fn settle(&self, device: &Device, completed: u64, woken: &mut Woken) {
        let is_quiet = || {
            let is_written = self.panics.as_ref().is_some_and(PanicSlot::is_written);
            !is_written && !self.has_sources.load(Ordering::Acquire)
        };
        if let Some(cuda) = &device.inner().cuda
            && !is_quiet()
        {
            self.harvest(&cuda.board.harvest(device), completed);
        }
        self.signal.advance(completed, woken);
    }

    /// Whether the driver says that no work is left.
    pub(crate) fn is_idle(&self) -> bool {
        self.raw.as_ref().is_none_or(|raw| raw.is_idle().unwrap_or(false))
    }
}

/// A queue as the poller has it.
pub(crate) struct WatchedQueue {
    pub(crate) device: Device,
    pub(crate) queue: Arc<Queue>,
}

impl Watched for WatchedQueue {
    type Fault = raddle_cuda::Error;

    fn signal(&self) -> &Signal {
        &self.queue.signal
    }

    fn is_watched(&self) -> &AtomicBool {
        &self.queue.is_watched
    }

    fn observe(&self) -> Result<u64, raddle_cuda::Error> {
        match self.queue.observe() {
            // A call that failed by itself says nothing of the work.
            Err(error) if !error.is_sticky() => Ok(self.queue.signal.completed()),
            observed => observed,
        }
    }

    fn probe(&self) -> Result<(), raddle_cuda::Error> {
        let state = match self.queue.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is calling the driver there at this moment.
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        // A question would end the capture. None can begin under the lock.
        if state.recording.is_some() {
            return Ok(());
        }
        match self.queue.raw.as_ref().map(raddle_cuda::Stream::is_idle) {
            Some(Err(error)) if error.is_sticky() => Err(error),
            _ => Ok(()),
        }
    }

    fn settle(&self, completed: u64, woken: &mut Woken) {
        self.queue.settle(&self.device, completed, woken);
    }

    fn fail(&self, fault: raddle_cuda::Error, woken: &mut Woken) {
        self.device.lose(fault, self.device.suspect());
        self.queue.signal.advance(u64::MAX, woken);
    }
}

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

    /// The queue of the device's own stream.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub(crate) fn default_queue(&self, device: &Device) -> Result<Arc<Queue>> {
        let mut alloc = lock(&self.alloc);
        if let Some(queue) = self.try_get(StreamId(1)) {
            return Ok(Arc::clone(queue));
        }
        self.make(device, &mut alloc, 0)
    }

    /// A queue of this priority that nobody has: an idle one that was given back,
    /// else a new one.
    pub(crate) fn lease(&self, device: &Device, priority: i32) -> Result<Arc<Queue>> {
        self.default_queue(device)?;
        let Some(queue) = self.take_free(priority) else {
            return self.make(device, &mut lock(&self.alloc), priority);
        };
        // Without a lock: the panic board looks at all queues.
        if let Some(raw) = &queue.raw {
            raw.synchronize()?;
        }
        // Errors that nobody asked for stay, for those who use the memory.
        let mut woken = Woken::default();
        queue.settle(device, queue.enqueued.load(Ordering::Acquire), &mut woken);
        woken.finish();
        Ok(queue)
    }

    /// A queue that was given back: one without work or, when there are as many
    /// streams as there can be, any.
    fn take_free(&self, priority: i32) -> Option<Arc<Queue>> {
        let mut alloc = lock(&self.alloc);
        let is_full = alloc.last == u16::MAX;
        let suited = |(_, queue): &(usize, &Arc<Queue>)| queue.priority == priority;
        let mut free = alloc.free.iter().enumerate().filter(suited).take(FREE_LOOKED_AT_MAX);
        let idle = free.clone().find(|(_, queue)| queue.is_idle());
        let found = idle.or_else(|| if is_full { free.next() } else { None }).map(|found| found.0);
        found.map(|position| alloc.free.remove(position))
    }

    /// Takes back the queue of a dropped stream.
    pub(crate) fn give_back(&self, device: &Device, queue: Arc<Queue>) {
        let chunk = {
            let mut state = lock(&queue.state);
            device.inner().pool.take_back(&queue, &mut state.cache);
            state.chunk.take()
        };
        if let (Some(cuda), Some(raw), Some(chunk)) = (&device.inner().cuda, &queue.raw, chunk) {
            cuda.staging.give_back(raw, chunk);
        }
        lock(&self.alloc).free.push(queue);
    }

    fn make(&self, device: &Device, alloc: &mut Allocation, priority: i32) -> Result<Arc<Queue>> {
        let Some(id) = alloc.last.checked_add(1) else {
            let kernel = "a new stream";
            let (what, max) = ("streams alive", u64::from(u16::MAX));
            let limit_of = device.to_string();
            return Err(Error::LaunchLimit { kernel, what, min: 0, max, found: max + 1, limit_of });
        };
        let queue = Queue::new(device, StreamId(id), priority)?;
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
