//! CUDA graphs: work that is captured once and replayed with one driver call.
//!
//! ```ignore
//! let (graph, out) = stream.capture(|stream| {
//!     let mut out = stream.zeros::<f32>(1000)?;
//!     stream.launch(Grid::cover(1000, 256), kernels::saxpy(2.0, &x, &mut out))?;
//!     Ok(out)
//! })?;
//! graph.launch(&stream)?.await?;
//! ```
//!
//! A capture has a stream of its own, which nobody else knows: no work of other
//! threads gets into it, and nothing they do breaks it. The graph holds all memory
//! that its work touches; dropping a buffer leaves its memory to the graph.
//! Memory allocated while capturing comes from the stream on which the capture
//! began, has the same address at every replay, and is used again within the
//! graph when its buffer is dropped there.
//!
//! What a replay reads and writes is ordered with all other work, on any stream,
//! at a cost that does not depend on the number of buffers (see `table`). On the
//! CPU device a graph is a list of work that a replay goes through.

mod capture;
pub(crate) mod record;
pub(crate) mod table;
#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Mutex;

use raddle_cuda::Status;
use raddle_device::kernel::Kernel;

use crate::call::KernelCall;
use crate::completion::Point;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::record::{Body, Place, Recorded, Recording};
use crate::graph::table::GraphId;
use crate::grid::Grid;
use crate::launch::Operation;
use crate::stream::{Launched, Stream};
use crate::sync::lock;
use crate::timeline::Access;
use crate::trace::{self, Span};

/// Captured work, made by [`Stream::capture`]. May be replayed on any stream of
/// its device; replays of one graph come one after the other.
pub struct Graph {
    /// `None` on the CPU device. Goes before the memory that it names.
    exec: Option<Mutex<raddle_cuda::GraphExec>>,
    /// What `exec` was made from: its nodes name those of `exec`, and only while it
    /// is there.
    _raw: Option<raddle_cuda::Graph>,
    parts: Parts,
}

impl Stream {
    /// Captures what `work` enqueues on the stream that it is given, without
    /// running it. Launches, copies on the device, fills, writes of host data
    /// (which become part of the graph as they are now) and allocations may be
    /// captured. Gives the graph and what `work` returns, buffers for example.
    ///
    /// ## Errors
    ///
    /// What `work` returns; [`Error::Capture`] for work that cannot be captured
    /// and for waiting; a failed driver call.
    pub fn capture<R>(&self, work: impl FnOnce(&Self) -> Result<R>) -> Result<(Graph, R)> {
        let (captured, result) = Captured::of(self, None, work)?;
        Ok((captured.into_graph()?, result))
    }
}

impl Graph {
    /// Enqueues a replay.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongDevice`], [`Error::Capture`] on a stream that is being
    /// captured, or a failed driver call. Panics of the graph's kernels show at
    /// the next wait.
    pub fn launch<'s>(&self, stream: &'s Stream) -> Result<Launched<'s>> {
        if !self.parts.device.is_same(stream.device()) {
            return Err(Error::WrongDevice {
                operation: "a graph's replay",
                buffer: self.parts.device.to_string(),
                stream: stream.device().to_string(),
            });
        }
        let point = stream.submit_replay(self)?;
        Ok(Launched::new(stream, point))
    }

    /// The graph's device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.parts.device
    }

    /// Names of the kernels that a replay launches, in order.
    pub fn kernels(&self) -> impl Iterator<Item = &'static str> {
        self.parts.body.launches.iter().map(|node| node.kernel.name)
    }

    /// The driver's handle of the instance on a GPU, for what this crate does not
    /// offer. Work that is enqueued with it is not noted.
    #[must_use]
    pub fn cuda_exec(&self) -> Option<*mut std::ffi::c_void> {
        self.exec.as_ref().map(|exec| lock(exec).as_raw())
    }

    /// Brings the graph to the device ahead of its first replay on `stream`.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn upload(&self, stream: &Stream) -> Result<()> {
        if let (Some(exec), Some(raw)) = (&self.exec, stream.cuda_stream()) {
            lock(exec).upload(raw).map_err(|error| stream.with_context(error.into()))?;
        }
        Ok(())
    }

    /// Captures `work` in this graph's place: later replays do what it does, with
    /// its arguments and buffers. Work and order must be of the same kinds as
    /// before; replays under way are not affected.
    ///
    /// ## Errors
    ///
    /// [`Error::GraphShape`] if `work` is of another shape: the graph stays as it
    /// was, unless it is the driver that finds the difference; then capture a new
    /// one. Otherwise as [`Stream::capture`].
    pub fn update<R>(
        &mut self,
        stream: &Stream,
        work: impl FnOnce(&Stream) -> Result<R>,
    ) -> Result<R> {
        if !self.parts.device.is_same(stream.device()) {
            return Err(Error::WrongDevice {
                operation: "a graph's update",
                buffer: self.parts.device.to_string(),
                stream: stream.device().to_string(),
            });
        }
        let (mut captured, result) = Captured::of(stream, Some(self.parts.id), work)?;
        captured.check_shape(&self.parts.body)?;
        if let (Some(exec), Some(raw)) = (&self.exec, &captured.raw) {
            let changed = lock(exec).update(raw).map_err(|error| match error.status() {
                Some(Status::GRAPH_EXEC_UPDATE_FAILURE) => Error::GraphShape {
                    reason: "the driver refuses to change the one into the other".to_owned(),
                },
                _ => error.into(),
            });
            changed?;
            // The driver still knows launches by the nodes that `exec` was made from.
            let old = self.parts.body.launches.iter();
            for (new, old) in captured.parts.body.launches.iter_mut().zip(old) {
                new.place = old.place;
            }
        }
        // What the old body held goes once its last replay has ended.
        self.parts = captured.parts;
        Ok(result)
    }

    /// Changes the launch numbered `index`, in the order of [`Graph::kernels`], to
    /// `call` of the same kernel: other arguments, buffers or grid. Costs one
    /// driver call; replays under way are not affected.
    ///
    /// ## Errors
    ///
    /// [`Error::GraphShape`] if there is no such launch, or of another kernel, or
    /// in clusters; what [`Stream::launch`] refuses; a failed driver call.
    pub fn set_launch<P: Copy>(
        &mut self,
        index: usize,
        grid: Grid,
        call: KernelCall<'_, P>,
    ) -> Result<()> {
        if let Some(error) = call.error {
            return Err(*error);
        }
        let node = match self.parts.body.launches.get(index) {
            Some(node) if std::ptr::eq(node.kernel, call.kernel) => *node,
            Some(node) => return Err(other_kernel(index, node.kernel, call.kernel)),
            None => {
                let len = self.parts.body.launches.len();
                let reason = format!("it has {len} launches, number {index} was to be changed");
                return Err(Error::GraphShape { reason });
            }
        };
        let accesses = &call.accesses;
        for (region, _) in accesses.iter() {
            if !region.device.is_same(&self.parts.device) {
                return Err(Error::WrongDevice {
                    operation: call.kernel.name,
                    buffer: region.device.to_string(),
                    stream: self.parts.device.to_string(),
                });
            }
        }
        let params = (&raw const call.params).cast::<u8>();
        // The new memory is held before a replay can use it.
        let mut table = self.parts.device.inner().graphs.lock();
        for (region, access) in accesses.iter().filter(|(region, _)| region.bytes > 0) {
            if table.hold(self.parts.id, region, access != Access::Read) {
                self.parts.body.held.push(region.address);
            }
        }
        drop(table);
        match (node.place, &self.exec) {
            (Place::Listed(place), _) => {
                // SAFETY: a `KernelCall` names the memory that its parameters
                // point to, which the graph now holds.
                let launch = unsafe {
                    self.parts.device.record_launch(&grid, call.kernel, params, size_of::<P>())?
                };
                self.parts.body.operations[place] = Recorded::Launch(launch);
                Ok(())
            }
            (Place::Driver(Some(raw)), Some(exec)) => {
                let (loaded, shape) =
                    self.parts.device.checked_launch(&grid, call.kernel, size_of::<P>())?;
                let slot = self.parts.body.panics.as_ref();
                let slot = slot.expect("a graph with launches has a place for their panics");
                let tag = slot.tag(index as u64 + 1, loaded.index);
                let mut pointers = tag.pointers(params, size_of::<P>());
                // SAFETY: as above; the node is this graph's and of this kernel.
                unsafe { lock(exec).set_kernel(raw, &loaded.function, &shape, &mut pointers) }?;
                Ok(())
            }
            _ => Err(Error::GraphShape {
                reason: "the driver does not tell its nodes (CUDA 11.3 does)".to_owned(),
            }),
        }
    }

    /// Does the captured work on `stream`'s queue, whose lock the caller holds.
    ///
    /// # Safety
    ///
    /// The stream comes after every other use of the memory that the graph holds.
    pub(crate) unsafe fn replay(&self, raw: Option<&raddle_cuda::Stream>) -> Result<()> {
        match (&self.exec, raw) {
            // SAFETY: the caller's contract.
            (Some(exec), Some(raw)) => unsafe { lock(exec).launch(raw) }.map_err(Error::from),
            _ => {
                let mut first = Ok(());
                for operation in &self.parts.body.operations {
                    // SAFETY: as above.
                    let done = unsafe { operation.replay() };
                    first = first.and(done);
                }
                first
            }
        }
    }

    pub(crate) fn id(&self) -> GraphId {
        self.parts.id
    }

    pub(crate) fn body(&self) -> &Body {
        &self.parts.body
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (launches, held) = (self.parts.body.launches.len(), self.parts.body.held.len());
        write!(
            f,
            "Graph({launches} launches, {held} pieces of memory, {})",
            self.parts.device.kind()
        )
    }
}

/// A graph's number with what it holds: given up when dropped.
struct Parts {
    device: Device,
    id: GraphId,
    body: Body,
}

impl Drop for Parts {
    fn drop(&mut self) {
        let mut table = self.device.inner().graphs.lock();
        let last = table.last_replay(self.id);
        let freed = table.remove(self.id, &self.body.held);
        drop(table);
        drop(freed);
        // A replay under way may still read the host data and run the modules.
        let pinned = std::mem::take(&mut self.body.pinned);
        let foreign = std::mem::take(&mut self.body.foreign);
        if let Some(last) = last.filter(|_| !(pinned.is_empty() && foreign.is_empty())) {
            let queue = self.device.queue(last.stream);
            queue.keep_until(&self.device, last.sequence, Box::new((pinned, foreign)));
        }
    }
}

/// What came of a capture.
struct Captured {
    parts: Parts,
    raw: Option<raddle_cuda::Graph>,
}

impl Captured {
    fn of<R>(
        companion: &Stream,
        before: Option<GraphId>,
        work: impl FnOnce(&Stream) -> Result<R>,
    ) -> Result<(Self, R)> {
        let scope = Scope::begin(companion, before)?;
        let result = work(&scope.stream)?;
        Ok((scope.finish()?, result))
    }

    /// Whether this can take the place of `old`.
    fn check_shape(&self, old: &Body) -> Result<()> {
        let new = &self.parts.body;
        let reason = if new.operations.len() != old.operations.len() {
            format!("it has {} operations, {} expected", new.operations.len(), old.operations.len())
        } else if new.launches.len() != old.launches.len() {
            format!("it has {} launches, {} expected", new.launches.len(), old.launches.len())
        } else {
            let kinds = |body: &Body| -> Vec<&'static str> {
                let launches = body.launches.iter().map(|node| node.kernel.name);
                body.operations.iter().map(Recorded::shape).chain(launches).collect()
            };
            let (found, expected) = (kinds(new), kinds(old));
            match found.iter().zip(&expected).position(|(found, expected)| found != expected) {
                None => return Ok(()),
                Some(i) => format!("expected {} as number {i}, found {}", expected[i], found[i]),
            }
        };
        Err(Error::GraphShape { reason })
    }

    fn into_graph(self) -> Result<Graph> {
        let exec = match &self.raw {
            Some(raw) => Some(Mutex::new(raw.instantiate()?)),
            None => None,
        };
        Ok(Graph { exec, _raw: self.raw, parts: self.parts })
    }
}

/// What the driver makes of a capture; `None` on the CPU device.
type DriverCapture = Option<Result<raddle_cuda::Graph, raddle_cuda::Error>>;

/// A stream that is being captured. Dropped before the end, it throws away what
/// was captured.
struct Scope {
    stream: Stream,
}

impl Scope {
    fn begin(companion: &Stream, before: Option<GraphId>) -> Result<Self> {
        let device = companion.device();
        if companion.queue().is_capturing() {
            return Err(captured("capture"));
        }
        let stream = device.stream()?;
        let graph = device.inner().graphs.lock().add(before);
        let (companion, body) = (companion.clone(), Body::default());
        let recording = Recording { graph, companion, body };
        lock(&stream.queue().state).recording = Some(Box::new(recording));
        stream.queue().set_capturing(true);
        let scope = Self { stream };
        if let Some(raw) = scope.stream.cuda_stream() {
            raw.begin_capture().map_err(|error| scope.stream.with_context(error.into()))?;
        }
        Ok(scope)
    }

    /// Ends the capture: what was recorded, and the driver's side of it.
    fn end(&self) -> (Option<Parts>, DriverCapture) {
        let queue = self.stream.queue();
        let mut state = lock(&queue.state);
        let raw = match (&queue.raw, &state.recording) {
            (Some(raw), Some(_)) => Some(raw.end_capture()),
            _ => None,
        };
        queue.set_capturing(false);
        let Some(recording) = state.recording.take() else { return (None, raw) };
        let Recording { graph, body, .. } = *recording;
        let parts = Parts { device: self.stream.device().clone(), id: graph, body };
        (Some(parts), raw)
    }

    fn finish(self) -> Result<Captured> {
        let (parts, raw) = self.end();
        let raw = match raw {
            Some(Err(error)) => return Err(self.stream.with_context(error.into())),
            Some(Ok(raw)) => Some(raw),
            None => None,
        };
        let parts = parts.expect("the scope's recording is taken once, here or in `drop`");
        Ok(Captured { parts, raw })
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let (parts, raw) = self.end();
        // The driver's graph goes before the memory that it names.
        drop(raw);
        drop(parts);
    }
}

/// Refuses `operation` because its stream is being captured.
#[cold]
pub(crate) fn captured(operation: &'static str) -> Error {
    Error::Capture { operation }
}

fn other_kernel(index: usize, expected: &'static Kernel, found: &'static Kernel) -> Error {
    let (expected, found) = (expected.name, found.name);
    let reason = format!("launch {index} is of {expected}, it was to be changed to one of {found}");
    Error::GraphShape { reason }
}

impl Operation {
    /// Whether a capture may take the work as it stands.
    pub(crate) fn is_capturable(self) -> bool {
        match self {
            Self::Launch(_) => true,
            Self::Named(name) => matches!(name, "fill" | "copy"),
        }
    }
}

impl Stream {
    /// Enqueues a replay of `graph`, which is of this device.
    fn submit_replay(&self, graph: &Graph) -> Result<Point> {
        let (device, queue, first) = (self.device(), self.queue(), self.first_sequence());
        let mut state = lock(&queue.state);
        if state.recording.is_some() {
            return Err(captured("a graph's replay"));
        }
        let serial = queue.errors.serial();
        let mut table = device.inner().graphs.lock();
        let mut wait = |entry| queue.wait_for(&mut state, device, entry);
        let waited = table.before_replay(graph.id(), (queue.id, first), &mut wait);
        waited.map_err(|error| self.with_context(error))?;
        let panics = graph.body().panics.as_ref();
        if let Some(panics) = panics {
            queue.note_replay(panics);
        }
        if let Some(node) = graph.body().launches.last() {
            queue.note_launch(node.kernel);
        }
        let name = "a graph's replay";
        let span = if trace::is_on() { Some(Span::begin(self, name)) } else { None };
        // SAFETY: the waits above come after every use of the graph's memory that
        // was noted, and the table's lock keeps others away until this is noted.
        let replayed = unsafe { graph.replay(queue.raw.as_ref()) };
        let sequence = queue.next(&mut state);
        if let (Some(panics), Err(_)) = (panics, &replayed) {
            panics.forget_last();
        }
        table.note_replay(graph.id(), queue.id, sequence);
        drop(table);
        if let Some(span) = span {
            span.end_work(self, Operation::Named(name), sequence);
        }
        let point = Point { sequence, serial };
        if queue.raw.is_none() {
            // On the CPU device what kernels do wrong is known at once.
            if let Err(error) = replayed {
                queue.errors.push(sequence - 1, sequence, error);
            }
            queue.signal.note(sequence);
            return Ok(point);
        }
        replayed.map_err(|error| self.with_context(error))?;
        Ok(point)
    }
}
