//! Streams: work in order, beside the work of other streams.
//!
//! A [`Stream`] is a handle to a queue of its device. Everything here notes what
//! it uses (see `timeline`), so that memory may be used on any stream of its
//! device without a thought about order. Errors of work that was enqueued show
//! when somebody waits for it: at [`Stream::synchronize`], [`Launched::wait`]
//! and where data comes back to the host.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use crate::anchor::Anchor;
use crate::call::{Accesses, Call};
use crate::completion::signal::Woken;
use crate::completion::{Completion, Point};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::graph::table::Table;
use crate::grid::Grid;
use crate::launch::Operation;
use crate::memory::Region;
use crate::queue::{Queue, QueueState};
use crate::sync::lock;
use crate::timeline::{Lease, Own};
use crate::trace::{self, Span};

/// Work in order on a device. Clones are the same stream.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<StreamInner>,
}

pub(crate) struct StreamInner {
    device: Device,
    /// The device as buffers of this stream hold it.
    anchor: Anchor,
    queue: Arc<Queue>,
    /// Number of the first work that can be this stream's.
    first_sequence: u64,
    /// What memory knows the stream by that has the queue now.
    lease: Lease,
    /// Whether the queue goes back to the device's pool at the end.
    is_leased: bool,
}

impl Drop for StreamInner {
    fn drop(&mut self) {
        if self.is_leased {
            self.device.inner().queues.give_back(&self.device, Arc::clone(&self.queue));
        }
    }
}

/// A kernel launch that is under way. It may be ignored: work goes on, and its
/// errors show at the next wait for the stream. It may be awaited.
#[derive(Debug)]
pub struct Launched<'s> {
    stream: &'s Stream,
    point: Point,
}

impl<'s> Launched<'s> {
    pub(crate) fn new(stream: &'s Stream, point: Point) -> Self {
        Self { stream, point }
    }

    /// Waits for the launch, and for what was enqueued on the stream before.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel on this stream, or a failed driver call.
    pub fn wait(self) -> Result<()> {
        self.stream.settle(self.point)
    }

    /// The end of the launch as a future that does not borrow the stream; the
    /// same as awaiting the launch itself.
    pub fn done(self) -> Completion {
        Completion::new(self.stream.clone(), self.point)
    }
}

impl Stream {
    /// A stream with a queue of its own.
    pub(crate) fn lease(device: Device, queue: Arc<Queue>) -> Self {
        let first_sequence = queue.enqueued.load(Ordering::Acquire) + 1;
        queue.errors.close(first_sequence - 1);
        let (anchor, lease) = (Anchor::new(device.clone()), queue.renew_lease());
        let is_leased = true;
        Self::owning(StreamInner { device, anchor, queue, first_sequence, lease, is_leased })
    }

    /// The device's own stream.
    pub(crate) fn shared(device: Device, queue: Arc<Queue>) -> Self {
        let owner = lock(&queue.owner).upgrade();
        if let Some(inner) = owner {
            return Self { inner };
        }
        let (anchor, lease) = (Anchor::new(device.clone()), queue.lease());
        let (first_sequence, is_leased) = (0, false);
        Self::owning(StreamInner { device, anchor, queue, first_sequence, lease, is_leased })
    }

    fn owning(inner: StreamInner) -> Self {
        let inner = Arc::new(inner);
        *lock(&inner.queue.owner) = Arc::downgrade(&inner);
        Self { inner }
    }

    /// The stream on which the memory was written last, if somebody still has it;
    /// else one of its own, so that nobody else's errors are taken.
    pub(crate) fn of_region(region: &Region) -> Result<Self> {
        let (id, sequence) = region.last_write();
        let owner = lock(&region.device.queue(id).owner).upgrade();
        match owner {
            Some(inner) if sequence >= inner.first_sequence => Ok(Self { inner }),
            _ => region.device.stream(),
        }
    }

    /// The stream's device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.inner.device
    }

    pub(crate) fn anchor(&self) -> &Anchor {
        &self.inner.anchor
    }

    /// Number of the stream's queue, for those who look at traces.
    pub(crate) fn id(&self) -> u16 {
        self.queue().id.0
    }

    /// Number of the first work that can be this stream's.
    pub(crate) fn first_sequence(&self) -> u64 {
        self.inner.first_sequence
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.inner.queue
    }

    /// The driver's side of a stream on a GPU, for what this crate does not
    /// offer. Work enqueued there is ordered with this stream's own, but what it
    /// uses is not noted.
    #[must_use]
    pub fn cuda_stream(&self) -> Option<&raddle_cuda::Stream> {
        self.inner.queue.raw.as_ref()
    }

    /// Enqueues a kernel.
    ///
    /// ## Errors
    ///
    /// A typed error, before the driver sees anything, if the device or the
    /// kernel does not allow the launch, or an argument does not suit; a failed
    /// driver call. What goes wrong while the kernel runs shows at the next wait.
    #[inline]
    pub fn launch(&self, grid: Grid, call: impl Call) -> Result<Launched<'_>> {
        let point = call.enqueue(self, &grid)?;
        Ok(Launched { stream: self, point })
    }

    /// Enqueues `work`, which uses what `accesses` says, behind all work that it
    /// must come after.
    #[inline]
    pub(crate) fn submit(
        &self,
        operation: Operation,
        accesses: &Accesses<'_>,
        work: impl FnOnce(Option<&raddle_cuda::Stream>, &mut QueueState) -> Result<()>,
    ) -> Result<Point> {
        let (queue, lease) = (self.queue(), self.inner.lease);
        let mut state = lock(&queue.state);
        let serial = queue.errors.serial();
        let is_captured = state.recording.is_some();
        let is_owned = !is_captured && accesses.are_owned(lease);
        let graphs =
            if is_owned { None } else { self.wait_for_others(operation, accesses, &mut state)? };
        let is_traced = trace::is_on() && !is_captured;
        let span = if is_traced { Some(Span::begin(self, operation.name())) } else { None };
        let worked = work(queue.raw.as_ref(), &mut state);
        if is_captured {
            return self.captured_point(worked);
        }
        // Noted even if it failed, since a part of it may have been enqueued.
        let sequence = queue.next(&mut state);
        if is_owned {
            accesses.note_owned(queue.id, sequence);
        } else {
            self.note_uses(accesses, sequence, graphs);
        }
        if let Some(span) = span {
            span.end_work(self, operation, sequence);
        }
        if queue.raw.is_none() {
            queue.signal.note(sequence);
        }
        match worked {
            Ok(()) => Ok(Point { sequence, serial }),
            Err(error) => Err(self.with_context(error)),
        }
    }

    /// Has the queue wait for what these accesses, not all of the stream's own memory,
    /// must come after. If graphs hold some of the memory, keeps them from it. If the
    /// work is being captured, has its graph hold all of it.
    fn wait_for_others(
        &self,
        operation: Operation,
        accesses: &Accesses<'_>,
        state: &mut QueueState,
    ) -> Result<Option<MutexGuard<'_, Table>>> {
        if state.recording.is_some() {
            return self.hold_captured(operation, accesses, state).map(|()| None);
        }
        let (device, queue, first) = (self.device(), self.queue(), self.inner.first_sequence);
        let own = Own::new((queue.id, first));
        let is_free = accesses.iter().all(|(region, access)| {
            region.device.is_same(device) && region.uses.is_free(own, access)
        });
        if is_free {
            return Ok(None);
        }
        let mut is_held = false;
        for (region, access) in accesses.iter() {
            if !region.device.is_same(device) {
                return Err(self.wrong_device(operation.name(), region));
            }
            is_held |= region.uses.is_held();
            let mut wait = |entry| queue.wait_for(state, device, entry);
            let waited = region.uses.before((queue.id, first), access, &mut wait);
            waited.map_err(|error| self.with_context(error))?;
        }
        if is_held { self.wait_for_graphs(accesses, state).map(Some) } else { Ok(None) }
    }

    /// Notes the uses of work that waited for others.
    fn note_uses(
        &self,
        accesses: &Accesses<'_>,
        sequence: u64,
        graphs: Option<MutexGuard<'_, Table>>,
    ) {
        let id = self.queue().id;
        for (region, access) in accesses.iter() {
            region.uses.note((id, self.inner.lease), access, sequence);
        }
        if let Some(graphs) = graphs {
            for (region, access) in accesses.iter().filter(|(region, _)| region.uses.is_held()) {
                graphs.note(region.address, access, id, sequence);
            }
        }
    }

    #[cold]
    pub(crate) fn wrong_device(&self, operation: &'static str, region: &Region) -> Error {
        Error::WrongDevice {
            operation,
            buffer: region.device.to_string(),
            stream: self.device().to_string(),
        }
    }

    /// Waits until all work enqueued so far has ended.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel on this stream since it was last waited for,
    /// or a failed driver call.
    pub fn synchronize(&self) -> Result<()> {
        self.settle(self.queue().point())
    }

    /// The end of all work enqueued so far, as a future:
    /// `stream.done().await` is [`Stream::synchronize`] for asynchronous code.
    pub fn done(&self) -> Completion {
        Completion::new(self.clone(), self.queue().point())
    }

    /// Waits for the work before `point`, then tells what went wrong in it.
    pub(crate) fn settle(&self, point: Point) -> Result<()> {
        let queue = self.queue();
        queue.refuse_capture("waiting")?;
        if queue.signal.completed() < point.sequence
            && let Some(raw) = &queue.raw
        {
            raw.synchronize().map_err(|error| self.with_context(error.into()))?;
            self.note_end(point);
        }
        self.verdict(point)
    }

    /// Notes that the work before `point` has ended.
    pub(crate) fn note_end(&self, point: Point) {
        let mut woken = Woken::default();
        self.queue().settle(self.device(), point.sequence, &mut woken);
        woken.finish();
    }

    /// What went wrong in the work before `point`, which has ended.
    pub(crate) fn verdict(&self, point: Point) -> Result<()> {
        let queue = self.queue();
        if let Some(error) = queue.errors.verdict(point, self.inner.first_sequence) {
            return Err(error);
        }
        if queue.signal.completed() == u64::MAX
            && let Some(error) = self.device().inner().lost()
        {
            return Err(error);
        }
        Ok(())
    }

    /// Has the device's poller look after this stream's waiters.
    pub(crate) fn watch(&self) -> Result<()> {
        self.queue().watch(self.device())
    }

    /// Keeps `value` until work `sequence`, which is enqueued, has ended.
    pub(crate) fn keep_until(&self, sequence: u64, value: Box<dyn Send>) {
        self.queue().keep_until(self.device(), sequence, value);
    }

    /// Says which device a fault has lost, and what ran there last; everybody who
    /// waits for the device is told.
    #[cold]
    pub(crate) fn with_context(&self, error: Error) -> Error {
        match error {
            Error::Cuda(source) if source.is_sticky() => {
                self.device().lose(source, self.queue().last_kernel())
            }
            error => error,
        }
    }

    /// Marks the end of the work enqueued so far, with its time.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn record(&self) -> Result<Event> {
        self.queue().refuse_capture("recording an event")?;
        Event::record(self)
    }

    /// Runs `work` on the host and gives its result with the milliseconds that
    /// the stream took for what it enqueued here. Waits for it.
    ///
    /// ## Errors
    ///
    /// As [`Stream::synchronize`].
    pub fn time<R>(&self, work: impl FnOnce() -> R) -> Result<(R, f64)> {
        let start = self.record()?;
        let result = work();
        let end = self.record()?;
        self.synchronize()?;
        Ok((result, end.elapsed_ms_since(&start)?))
    }
}

impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner.queue, &other.inner.queue)
    }
}

impl Eq for Stream {}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({} of {})", self.queue().id.0, self.device().kind())
    }
}
