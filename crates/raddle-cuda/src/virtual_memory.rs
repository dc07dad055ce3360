//! Device memory in two steps: addresses are reserved once, and physical memory
//! is mapped below them and taken away again piece by piece
//! (CUDA driver API, "Virtual Memory Management").

use std::sync::Arc;

use crate::context::Context;
use crate::device::Device;
use crate::error::{Error, Result, check};
use crate::sys::{
    CuDevicePtr, CuMemAccessDesc, CuMemAllocationProp, CuMemHandle, CuMemLocation,
    MEM_ACCESS_READ_WRITE, MEM_ALLOCATION_PINNED, MEM_GRANULARITY_MINIMUM, MEM_LOCATION_DEVICE,
};

/// The driver's name for a function that this module needs, for errors.
fn missing(symbol: &'static str) -> Error {
    Error::FunctionMissing { symbol, since: (10, 2) }
}

fn properties(device: Device) -> CuMemAllocationProp {
    CuMemAllocationProp {
        kind: MEM_ALLOCATION_PINNED,
        handles: 0,
        location: CuMemLocation { kind: MEM_LOCATION_DEVICE, id: device.raw },
        win32_handle_metadata: std::ptr::null_mut(),
        flags: [0; 8],
    }
}

/// A range of device addresses with nothing behind it until memory is mapped.
pub struct AddressRange {
    context: Arc<Context>,
    start: CuDevicePtr,
    bytes: usize,
}

impl AddressRange {
    /// Reserves `bytes` of addresses, a multiple of [`granularity`].
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 10.2, or a failed driver call.
    pub fn reserve(context: &Arc<Context>, bytes: usize) -> Result<Self> {
        let api = context.enter()?;
        let reserve = api.mem_address_reserve.ok_or(missing("cuMemAddressReserve"))?;
        let mut start: CuDevicePtr = 0;
        // SAFETY: writes one address; given back in `drop`.
        let status = unsafe { reserve(&raw mut start, bytes, 0, 0, 0) };
        check("cuMemAddressReserve", status)?;
        Ok(Self { context: Arc::clone(context), start, bytes })
    }

    /// The first address.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Number of addresses.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Maps `memory` at `address`, for reading and writing by the devices given.
    ///
    /// # Safety
    ///
    /// The memory's bytes from `address` on lie in the range and nothing is mapped
    /// there.
    ///
    /// # Errors
    ///
    /// A failed driver call; nothing is mapped then.
    pub unsafe fn map(
        &self,
        address: u64,
        memory: &PhysicalMemory,
        devices: &[Device],
    ) -> Result<()> {
        let api = self.context.enter()?;
        let map = api.mem_map.ok_or(missing("cuMemMap"))?;
        // SAFETY: the caller's contract; the handle is alive.
        let status = unsafe { map(address, memory.bytes, 0, memory.handle, 0) };
        check("cuMemMap", status)?;
        // SAFETY: just mapped.
        let opened = unsafe { self.open(address, memory.bytes, devices) };
        if opened.is_err() {
            // SAFETY: just mapped, and nobody was told.
            let _ = unsafe { self.unmap(address, memory.bytes) };
        }
        opened
    }

    /// Lets the devices, and no others, read and write mapped memory.
    ///
    /// # Safety
    ///
    /// The bytes lie in the range and are mapped; devices left out use them no more.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn open(&self, address: u64, bytes: usize, devices: &[Device]) -> Result<()> {
        let api = self.context.enter()?;
        let set = api.mem_set_access.ok_or(missing("cuMemSetAccess"))?;
        let access = |device: &Device| CuMemAccessDesc {
            location: CuMemLocation { kind: MEM_LOCATION_DEVICE, id: device.raw },
            flags: MEM_ACCESS_READ_WRITE,
        };
        let list: Vec<CuMemAccessDesc> = devices.iter().map(access).collect();
        // SAFETY: the caller's contract; the list lives for the call.
        let status = unsafe { set(address, bytes, list.as_ptr(), list.len()) };
        check("cuMemSetAccess", status)
    }

    /// Takes the mapping of one whole piece of memory away.
    ///
    /// # Safety
    ///
    /// A piece of `bytes` bytes is mapped at `address`, and no work uses it now or
    /// later.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn unmap(&self, address: u64, bytes: usize) -> Result<()> {
        let api = self.context.enter()?;
        let unmap = api.mem_unmap.ok_or(missing("cuMemUnmap"))?;
        // SAFETY: the caller's contract.
        let status = unsafe { unmap(address, bytes) };
        check("cuMemUnmap", status)
    }
}

impl Drop for AddressRange {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter()
            && let Some(free) = api.mem_address_free
        {
            // SAFETY: reserved once with this length. The driver refuses if
            // something is still mapped, and the addresses stay reserved.
            let _ = unsafe { free(self.start, self.bytes) };
        }
    }
}

/// Memory of a device without an address. A mapping keeps it alive.
pub struct PhysicalMemory {
    context: Arc<Context>,
    handle: CuMemHandle,
    bytes: usize,
}

impl PhysicalMemory {
    /// Allocates `bytes`, a multiple of [`granularity`].
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`, or a failed driver call.
    pub fn create(context: &Arc<Context>, bytes: usize) -> Result<Self> {
        let api = context.enter()?;
        let create = api.mem_create.ok_or(missing("cuMemCreate"))?;
        let properties = properties(context.device());
        let mut handle: CuMemHandle = 0;
        // SAFETY: writes one handle, released in `drop`; the properties live for
        // the call.
        let status = unsafe { create(&raw mut handle, bytes, &raw const properties, 0) };
        check("cuMemCreate", status)?;
        Ok(Self { context: Arc::clone(context), handle, bytes })
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for PhysicalMemory {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter()
            && let Some(release) = api.mem_release
        {
            // SAFETY: released once; a mapping that is left keeps the memory.
            let _ = unsafe { release(self.handle) };
        }
    }
}

/// Bytes of which lengths and addresses of mappings on the device are multiples.
///
/// # Errors
///
/// [`Error::FunctionMissing`] below CUDA 10.2, or a failed driver call.
pub fn granularity(context: &Context) -> Result<usize> {
    let api = context.enter()?;
    let get = api.mem_get_allocation_granularity.ok_or(missing("cuMemGetAllocationGranularity"))?;
    let properties = properties(context.device());
    let mut bytes = 0usize;
    // SAFETY: writes one size; the properties live for the call.
    let status = unsafe { get(&raw mut bytes, &raw const properties, MEM_GRANULARITY_MINIMUM) };
    check("cuMemGetAllocationGranularity", status)?;
    Ok(bytes)
}
