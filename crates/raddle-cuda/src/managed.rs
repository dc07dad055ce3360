//! Managed memory, which the driver moves between host and devices, and the hints
//! that steer it (CUDA driver API, "Unified Addressing").

use crate::context::Context;
use crate::device::Device;
use crate::error::{Error, Result, check};
use crate::stream::Stream;
use crate::sys::{CuDevice, CuDevicePtr, MEM_ATTACH_GLOBAL};

/// A side of managed memory.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// The host.
    Host,
    /// A device.
    Device(Device),
}

impl Side {
    fn raw(self) -> CuDevice {
        match self {
            Self::Host => -1,
            Self::Device(device) => device.raw,
        }
    }
}

/// A hint about how managed memory is used; the numbers are `CUmem_advise`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Advice {
    /// Mostly read: each side may keep a copy.
    ReadMostly = 1,
    /// No longer mostly read.
    NotReadMostly = 2,
    /// Should stay where the side is.
    PreferredLocation = 3,
    /// May be anywhere again.
    NoPreferredLocation = 4,
    /// Used from the side, which should have it mapped.
    AccessedBy = 5,
    /// No longer used from the side.
    NotAccessedBy = 6,
}

/// Allocates managed memory that every stream of every device may use.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY`, or a failed driver call.
pub fn allocate_managed(context: &Context, bytes: usize) -> Result<u64> {
    let api = context.enter()?;
    let missing = Error::FunctionMissing { symbol: "cuMemAllocManaged", since: (6, 0) };
    let allocate = api.mem_alloc_managed.ok_or(missing)?;
    let mut address: CuDevicePtr = 0;
    // SAFETY: writes one address.
    let status = unsafe { allocate(&raw mut address, bytes, MEM_ATTACH_GLOBAL) };
    check("cuMemAllocManaged", status)?;
    Ok(address)
}

/// Tells the driver how managed memory will be used from a side. The side does
/// not matter for the first two kinds.
///
/// # Safety
///
/// `address` is managed memory of `bytes` bytes.
///
/// # Errors
///
/// `CUDA_ERROR_INVALID_DEVICE` where the device cannot share memory with the host
/// at the same time; a failed driver call.
pub unsafe fn advise(
    context: &Context,
    address: u64,
    bytes: usize,
    advice: Advice,
    side: Side,
) -> Result<()> {
    let api = context.enter()?;
    let missing = Error::FunctionMissing { symbol: "cuMemAdvise", since: (8, 0) };
    let advise = api.mem_advise.ok_or(missing)?;
    // SAFETY: the caller's contract.
    let status = unsafe { advise(address, bytes, advice as u32, side.raw()) };
    check("cuMemAdvise", status)
}

impl Stream {
    /// Enqueues moving managed memory to a side.
    ///
    /// # Safety
    ///
    /// `address` is managed memory of `bytes` bytes and stays so until the stream
    /// has come this far.
    ///
    /// # Errors
    ///
    /// As [`advise`].
    pub unsafe fn prefetch(&self, address: u64, bytes: usize, side: Side) -> Result<()> {
        let api = self.context().enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemPrefetchAsync", since: (8, 0) };
        let prefetch = api.mem_prefetch.ok_or(missing)?;
        // SAFETY: the caller's contract.
        let status = unsafe { prefetch(address, bytes, side.raw(), self.raw) };
        check("cuMemPrefetchAsync", status)
    }
}
