//! The primary context of a device: retained once, released on drop.
//!
//! Invariant: every object made in a context keeps the context alive, and every
//! call on such an object first makes the context current on the calling thread
//! (about ten nanoseconds, whatever other libraries did on the thread).

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::device::Device;
use crate::driver::Driver;
use crate::error::{Error, Result, check};
use crate::fork;
use crate::status::Status;
use crate::sys::{Api, CuContext, CuResult, SUCCESS};

/// A retained primary context.
pub struct Context {
    device: Device,
    pub(crate) raw: CuContext,
    /// Set when the context is about to be reset: its handles must not reach the
    /// driver.
    is_retired: AtomicBool,
    is_released: AtomicBool,
}

// SAFETY: the driver allows a context to be used from any thread, and from
// several at once.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// Retains the primary context of `device`, creating it if need be.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn retain_primary(device: Device) -> Result<Arc<Self>> {
        let mut raw: CuContext = std::ptr::null_mut();
        // SAFETY: writes one handle; released exactly once, in `drop`.
        let status = unsafe { (device.driver.api().primary_ctx_retain)(&raw mut raw, device.raw) };
        check("cuDevicePrimaryCtxRetain", status)?;
        let (is_retired, is_released) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Arc::new(Self { device, raw, is_retired, is_released }))
    }

    /// The context's device.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device
    }

    /// The driver.
    #[must_use]
    pub fn driver(&self) -> Driver {
        self.device.driver
    }

    /// Makes the context current on this thread.
    ///
    /// # Errors
    ///
    /// [`Error::ContextRetired`] after [`Context::retire`], [`Error::Forked`] in a
    /// forked child, or a failed driver call.
    #[inline]
    pub fn make_current(&self) -> Result<()> {
        self.check_usable()?;
        // SAFETY: the handle is retained as long as `self` lives.
        let status = unsafe { (self.device.driver.api().ctx_set_current)(self.raw) };
        LAST.set(self.raw);
        check("cuCtxSetCurrent", status)
    }

    /// Whether the driver may see handles of this context from this process.
    #[inline]
    pub(crate) fn check_usable(&self) -> Result<()> {
        if self.is_retired.load(Ordering::Relaxed) || fork::is_child() {
            return Err(self.unusable());
        }
        Ok(())
    }

    #[cold]
    fn unusable(&self) -> Error {
        if fork::is_child() { fork::error() } else { Error::ContextRetired }
    }

    /// Whether [`Context::retire`] was called.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Keeps every later call on this context's objects from the driver: they
    /// return [`Error::ContextRetired`], and dropping the objects does nothing.
    pub fn retire(&self) {
        self.is_retired.store(true, Ordering::SeqCst);
    }

    /// Throws away the device's primary context with everything in it, for the
    /// whole process: memory, streams, modules, those of other libraries
    /// included. Retires this one; retaining the primary context again makes a
    /// new one.
    ///
    /// # Errors
    ///
    /// [`Error::Forked`], [`Error::ContextRetired`] if it was reset before, or a
    /// failed driver call.
    ///
    /// # Safety
    ///
    /// No thread is inside a call on an object of the context, and nobody else in
    /// the process uses it.
    pub unsafe fn reset(&self) -> Result<()> {
        self.retire();
        if fork::is_child() {
            return Err(fork::error());
        }
        let api = self.device.driver.api();
        let missing = Error::FunctionMissing { symbol: "cuDevicePrimaryCtxReset", since: (7, 0) };
        let reset = api.primary_ctx_reset.ok_or(missing)?;
        if self.is_released.swap(true, Ordering::SeqCst) {
            return Err(Error::ContextRetired);
        }
        // SAFETY: balances the retain of the constructor; `drop` sees the flag.
        // A lost context reports its fault here, which is known.
        let _ = unsafe { (api.primary_ctx_release)(self.device.raw) };
        // SAFETY: the caller's contract.
        check("cuDevicePrimaryCtxReset", unsafe { reset(self.device.raw) })
    }

    /// The function table, with this context current on the calling thread.
    #[inline]
    pub(crate) fn enter(&self) -> Result<&'static Api> {
        self.make_current()?;
        Ok(self.device.driver.api())
    }

    /// Waits for all work of the context.
    ///
    /// # Errors
    ///
    /// The fault of any kernel that failed, or a failed driver call.
    pub fn synchronize(&self) -> Result<()> {
        let api = self.enter()?;
        // SAFETY: no arguments; the context is current.
        let status = unsafe { (api.ctx_synchronize)() };
        check("cuCtxSynchronize", status)
    }

    /// Gives every thread of later launches a stack of at least `bytes`. The driver
    /// reserves it for all threads that can be resident, once a kernel needs it.
    ///
    /// # Errors
    ///
    /// A failed driver call; not enough memory for the stacks among others.
    pub fn raise_stack_limit(&self, bytes: usize) -> Result<()> {
        const LIMIT_STACK_SIZE: u32 = 0;
        let api = self.enter()?;
        let mut current = 0usize;
        // SAFETY: writes one size.
        let status = unsafe { (api.ctx_get_limit)(&raw mut current, LIMIT_STACK_SIZE) };
        check("cuCtxGetLimit", status)?;
        if current >= bytes {
            return Ok(());
        }
        // SAFETY: takes numbers only.
        let status = unsafe { (api.ctx_set_limit)(LIMIT_STACK_SIZE, bytes) };
        check("cuCtxSetLimit", status)
    }

    /// Free and total memory of the device in bytes.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn memory_bytes(&self) -> Result<(u64, u64)> {
        let api = self.enter()?;
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: writes two sizes.
        let status = unsafe { (api.mem_get_info)(&raw mut free, &raw mut total) };
        check("cuMemGetInfo", status)?;
        Ok((free as u64, total as u64))
    }

    /// Lowest and highest stream priority, as the driver numbers them (lower
    /// numbers run first).
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn stream_priorities(&self) -> Result<(i32, i32)> {
        let api = self.enter()?;
        let (mut least, mut greatest): (c_int, c_int) = (0, 0);
        // SAFETY: writes two ints.
        let status = unsafe { (api.stream_priority_range)(&raw mut least, &raw mut greatest) };
        check("cuCtxGetStreamPriorityRange", status)?;
        Ok((least, greatest))
    }
}

thread_local! {
    /// The context that this crate made current last on this thread.
    static LAST: Cell<CuContext> = const { Cell::new(std::ptr::null_mut()) };
}

/// A context's handle beside the one function that a launch needs to make it
/// current, so that a launch follows few pointers.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    context: CuContext,
    set_current: unsafe extern "system" fn(CuContext) -> CuResult,
}

impl Entry {
    pub(crate) fn new(context: &Context) -> Self {
        let set_current = context.device.driver.api().ctx_set_current;
        Self { context: context.raw, set_current }
    }

    /// Runs `call` with the context current. Where this crate made it current last
    /// on the thread, `call` is tried at once: handles of one context are refused
    /// in another, so if somebody else changed the current context, the call fails
    /// without effect and is made again.
    #[inline]
    pub(crate) fn with(self, mut call: impl FnMut() -> CuResult) -> CuResult {
        if LAST.get() == self.context {
            let code = call();
            if !matches!(Status(code), Status::INVALID_CONTEXT | Status::INVALID_HANDLE) {
                return code;
            }
        }
        // SAFETY: whoever holds an entry keeps the context retained.
        let code = unsafe { (self.set_current)(self.context) };
        if code != SUCCESS {
            return code;
        }
        LAST.set(self.context);
        call()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if fork::is_child() || self.is_released.load(Ordering::SeqCst) {
            return;
        }
        // SAFETY: balances the retain of the constructor. A failure leaves
        // nothing to undo: the context is lost or the process is ending.
        let _ = unsafe { (self.device.driver.api().primary_ctx_release)(self.device.raw) };
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context(device {})", self.device.ordinal())
    }
}
