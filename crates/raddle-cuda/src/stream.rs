//! Streams and events: queues of work on a device, and marks in them.

use std::sync::Arc;

use crate::context::{Context, Entry};
use crate::error::{Error, Result, check};
use crate::sys::{
    CuEvent, CuStream, ERROR_NOT_READY, EVENT_BLOCKING_SYNC, EVENT_DISABLE_TIMING, LaunchKernel,
    STREAM_NON_BLOCKING, SUCCESS,
};

/// A queue of work that runs in order, apart from the legacy default stream.
pub struct Stream {
    pub(crate) raw: CuStream,
    /// What a launch needs, copied to where it finds it.
    pub(crate) entry: Entry,
    pub(crate) launch_kernel: LaunchKernel,
    context: Arc<Context>,
}

// SAFETY: the driver allows a stream to be used from any thread, and from several
// at once; calls are queued in the order in which they arrive.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new stream that does not wait for the legacy default stream.
    /// `priority` is within [`Context::stream_priorities`]; 0 is the default.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn new(context: &Arc<Context>, priority: i32) -> Result<Self> {
        let api = context.enter()?;
        let mut raw: CuStream = std::ptr::null_mut();
        // SAFETY: writes one handle, destroyed in `drop`.
        let status = unsafe { (api.stream_create)(&raw mut raw, STREAM_NON_BLOCKING, priority) };
        check("cuStreamCreateWithPriority", status)?;
        let (entry, launch_kernel) = (Entry::new(context), api.launch_kernel);
        Ok(Self { raw, entry, launch_kernel, context: Arc::clone(context) })
    }

    /// The stream's context.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The driver's handle, for libraries that take a `CUstream`.
    #[must_use]
    pub fn as_raw(&self) -> *mut std::ffi::c_void {
        self.raw
    }

    /// Waits until all work enqueued so far has ended.
    ///
    /// # Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub fn synchronize(&self) -> Result<()> {
        let api = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        let status = unsafe { (api.stream_synchronize)(self.raw) };
        check("cuStreamSynchronize", status)
    }

    /// Whether all work enqueued so far has ended.
    ///
    /// # Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub fn is_idle(&self) -> Result<bool> {
        let api = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        match unsafe { (api.stream_query)(self.raw) } {
            SUCCESS => Ok(true),
            ERROR_NOT_READY => Ok(false),
            failed => check("cuStreamQuery", failed).map(|()| true),
        }
    }

    /// Enqueues a write of `value` to the 8-byte word at `address`, which becomes
    /// visible to host and device after all earlier work of the stream.
    ///
    /// # Safety
    ///
    /// `address` is a word that the device can write, aligned to 8 bytes; it
    /// stays so until the write has ended, and others read it atomically only.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 11.7, or a failed driver call.
    pub unsafe fn write_u64(&self, address: u64, value: u64) -> Result<()> {
        let api = self.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuStreamWriteValue64", since: (11, 7) };
        let write = api.stream_write_value64.ok_or(missing)?;
        // SAFETY: the caller's contract; no flags, which includes the barrier
        // before the write.
        let status = unsafe { write(self.raw, address, value, 0) };
        check("cuStreamWriteValue64", status)
    }

    /// Makes later work of this stream wait for the last mark of `event`.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn wait(&self, event: &Event) -> Result<()> {
        let api = self.context.enter()?;
        // SAFETY: both handles live for the call; the driver keeps what it needs.
        let status = unsafe { (api.stream_wait_event)(self.raw, event.raw, 0) };
        check("cuStreamWaitEvent", status)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter() {
            // SAFETY: destroyed once; the driver finishes queued work first. A
            // failure means that the context is lost, and the stream with it.
            let _ = unsafe { (api.stream_destroy)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Stream({:p})", self.raw)
    }
}

/// A mark in a stream.
pub struct Event {
    context: Arc<Context>,
    raw: CuEvent,
}

// SAFETY: the driver allows an event to be used from any thread.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event for ordering: it takes no time stamp, which makes it cheap.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn for_order(context: &Arc<Context>) -> Result<Self> {
        Self::new(context, EVENT_DISABLE_TIMING)
    }

    /// An event that takes a time stamp; a wait for it lets the thread sleep.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn for_timing(context: &Arc<Context>) -> Result<Self> {
        Self::new(context, EVENT_BLOCKING_SYNC)
    }

    fn new(context: &Arc<Context>, flags: u32) -> Result<Self> {
        let api = context.enter()?;
        let mut raw: CuEvent = std::ptr::null_mut();
        // SAFETY: writes one handle, destroyed in `drop`.
        let status = unsafe { (api.event_create)(&raw mut raw, flags) };
        check("cuEventCreate", status)?;
        Ok(Self { context: Arc::clone(context), raw })
    }

    /// Marks the end of the work enqueued on `stream` so far.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        let api = self.context.enter()?;
        // SAFETY: both handles live for the call.
        let status = unsafe { (api.event_record)(self.raw, stream.raw) };
        check("cuEventRecord", status)
    }

    /// Whether the marked work has ended.
    ///
    /// # Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub fn is_reached(&self) -> Result<bool> {
        let api = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        match unsafe { (api.event_query)(self.raw) } {
            SUCCESS => Ok(true),
            ERROR_NOT_READY => Ok(false),
            failed => check("cuEventQuery", failed).map(|()| true),
        }
    }

    /// Waits until the marked work has ended.
    ///
    /// # Errors
    ///
    /// The fault of a kernel that failed, or a failed driver call.
    pub fn synchronize(&self) -> Result<()> {
        let api = self.context.enter()?;
        // SAFETY: the handle lives as long as `self`.
        let status = unsafe { (api.event_synchronize)(self.raw) };
        check("cuEventSynchronize", status)
    }

    /// Milliseconds from `start` to this event, both reached and for timing.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_NOT_READY` if one is not reached, or a failed driver call.
    pub fn elapsed_ms_since(&self, start: &Self) -> Result<f32> {
        let api = self.context.enter()?;
        let mut milliseconds = 0f32;
        // SAFETY: both handles live for the call; writes one float.
        let status = unsafe { (api.event_elapsed)(&raw mut milliseconds, start.raw, self.raw) };
        check("cuEventElapsedTime", status)?;
        Ok(milliseconds)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter() {
            // SAFETY: destroyed once; see `Stream::drop` about failures.
            let _ = unsafe { (api.event_destroy)(self.raw) };
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Event({:p})", self.raw)
    }
}
