//! The primary context of a device: retained once, released on drop.
//!
//! Invariant: every object made in a context keeps the context alive, and every
//! call on such an object first makes the context current on the calling thread
//! (about ten nanoseconds, whatever other libraries did on the thread).

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::Arc;

use crate::device::Device;
use crate::driver::Driver;
use crate::error::{Result, check};
use crate::status::Status;
use crate::sys::{Api, CuContext, CuResult, SUCCESS};

/// A retained primary context.
pub struct Context {
    device: Device,
    raw: CuContext,
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
        Ok(Arc::new(Self { device, raw }))
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
    /// A failed driver call.
    #[inline]
    pub fn make_current(&self) -> Result<()> {
        // SAFETY: the handle is retained as long as `self` lives.
        let status = unsafe { (self.device.driver.api().ctx_set_current)(self.raw) };
        LAST.set(self.raw);
        check("cuCtxSetCurrent", status)
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
