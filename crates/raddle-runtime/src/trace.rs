//! Traces: what the program asked of its devices and when they did it, as a file
//! that Perfetto and `chrome://tracing` open.
//!
//! ```ignore
//! raddle_runtime::start_trace("trace.json")?;   // or RADDLE_TRACE=trace.json
//! let y = model.run(&x)?;
//! raddle_runtime::finish_trace()?;              // or the end of the program
//! ```
//!
//! Each launch, copy, fill, replay and allocation is a span on the thread that
//! asked for it; work is a second span on its stream, between two events of the
//! driver's clock. While no trace is on, this costs one load for each operation.
//! With the feature `tracing`, the spans of threads go to the `tracing` crate's
//! subscriber as well, whether a file is written or not: at the level `DEBUG`, and at
//! the cost of one more load while nobody listens to it.

mod file;

use std::path::Path;
use std::sync::Mutex;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use raddle_cuda::Event;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::launch::Operation;
use crate::stream::Stream;
use crate::sync::lock;
use file::{Sink, Track};

static IS_ON: AtomicBool = AtomicBool::new(false);
static SINK: Mutex<Option<Sink>> = Mutex::new(None);

/// Begins to write a trace to a new file at `path`.
///
/// ## Errors
///
/// [`Error::Trace`] if the file cannot be made, or a trace is being written.
pub fn start_trace(path: impl AsRef<Path>) -> Result<()> {
    let mut sink = lock(&SINK);
    if let Some(sink) = &*sink {
        let reason = "a trace is being written already".to_owned();
        return Err(Error::Trace { path: sink.path().display().to_string(), reason });
    }
    *sink = Some(Sink::create(path.as_ref())?);
    IS_ON.store(true, Ordering::Release);
    Ok(())
}

/// Ends the trace and writes what is left of it; does nothing without one. Work
/// that has not ended by now has no span on its stream.
///
/// ## Errors
///
/// [`Error::Trace`] if the file could not be written.
pub fn finish_trace() -> Result<()> {
    IS_ON.store(false, Ordering::Release);
    let sink = lock(&SINK).take();
    sink.map_or(Ok(()), Sink::finish)
}

/// Begins a trace if `RADDLE_TRACE` names a file; it ends with the program.
pub(crate) fn start_from_environment() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(path) = std::env::var_os("RADDLE_TRACE").filter(|path| !path.is_empty()) else {
            return;
        };
        if let Err(error) = start_trace(path) {
            eprintln!("raddle: {error}");
            return;
        }
        crate::shutdown::write_at_exit();
    });
}

/// Ends the trace with the program.
pub(crate) fn finish_at_exit() {
    if let Err(error) = finish_trace() {
        eprintln!("raddle: {error}");
    }
}

/// Whether spans are wanted.
#[inline]
pub(crate) fn is_on() -> bool {
    #[cfg(feature = "tracing")]
    if tracing::level_filters::LevelFilter::current() >= tracing::level_filters::LevelFilter::DEBUG
    {
        return true;
    }
    IS_ON.load(Ordering::Relaxed)
}

/// A span that has begun.
pub(crate) struct Span {
    start: Instant,
    /// The driver's clock, on a GPU.
    before: Option<Event>,
    #[cfg(feature = "tracing")]
    _entered: tracing::span::EnteredSpan,
}

impl Span {
    /// Begins a span of work that is about to be enqueued on `raw`, whose queue's
    /// lock the caller holds.
    #[cold]
    pub(crate) fn begin(stream: &Stream, name: &'static str) -> Self {
        #[cfg(feature = "tracing")]
        let entered = {
            let (id, device) = (stream.id(), stream.device().kind());
            tracing::debug_span!("raddle", operation = name, stream = id, %device).entered()
        };
        #[cfg(not(feature = "tracing"))]
        let _ = name;
        let before = if IS_ON.load(Ordering::Relaxed) { mark(stream) } else { None };
        Self {
            start: Instant::now(),
            before,
            #[cfg(feature = "tracing")]
            _entered: entered,
        }
    }

    /// Ends the span of work that was enqueued as number `sequence`.
    #[cold]
    pub(crate) fn end_work(self, stream: &Stream, operation: Operation, sequence: u64) {
        let after = self.before.as_ref().and_then(|_| mark(stream));
        let mut sink = lock(&SINK);
        let Some(sink) = &mut *sink else { return };
        let category = match operation {
            Operation::Launch(_) => "launch",
            Operation::Named(_) => "work",
        };
        let (name, end) = (operation.name(), Instant::now());
        let stream_id = stream.id();
        let args = format!("\"stream\":{stream_id},\"sequence\":{sequence}");
        sink.span(Track::Thread, name, category, (self.start, end), &args);
        let device = stream.device();
        let track = Track::Stream { device: device.kind(), stream: stream_id };
        match (self.before, after) {
            (Some(before), Some(after)) => {
                sink.device_span(device, track, name, category, (before, after), args);
            }
            // The CPU device has done it in the meantime.
            _ if !device.is_gpu() => sink.span(track, name, category, (self.start, end), &args),
            _ => {}
        }
    }

    /// Ends the span of an allocation.
    #[cold]
    pub(crate) fn end_allocation(self, device: &Device, bytes: usize) {
        let (times, live_bytes) = ((self.start, Instant::now()), device.memory_use().live_bytes);
        let mut sink = lock(&SINK);
        let Some(sink) = &mut *sink else { return };
        let args = format!("\"bytes\":{bytes}");
        sink.span(Track::Thread, "allocate", "memory", times, &args);
        sink.counter(device.kind(), times.1, live_bytes);
    }
}

/// Notes that memory was freed.
#[cold]
pub(crate) fn note_free(device: &Device, bytes: usize) {
    let (now, live_bytes) = (Instant::now(), device.memory_use().live_bytes);
    let mut sink = lock(&SINK);
    if let Some(sink) = &mut *sink {
        sink.span(Track::Thread, "free", "memory", (now, now), &format!("\"bytes\":{bytes}"));
        sink.counter(device.kind(), now, live_bytes);
    }
}

/// A mark in the stream with its time; `None` where the driver cannot give one.
fn mark(stream: &Stream) -> Option<Event> {
    let raw = stream.cuda_stream()?;
    let event = Event::for_timing(raw.context()).ok()?;
    event.record(raw).ok()?;
    Some(event)
}

#[cfg(all(test, not(loom)))]
mod tests;
