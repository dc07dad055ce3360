//! Device memory in stream order, pinned host memory, copies and fills.
//!
//! This layer deals in addresses: which memory may be touched when is decided by
//! `raddle-runtime`. Functions that trust the caller with that are `unsafe`.

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::context::Context;
use crate::error::{Error, Result, check};
use crate::stream::Stream;
use crate::sys::{
    CuDevicePtr, CuMemLocation, CuMemPool, CuMemPoolProps, CuMemcpy2d, MEM_ALLOCATION_PINNED,
    MEM_HOST_DEVICE_MAP, MEM_HOST_PORTABLE, MEM_LOCATION_DEVICE, MEM_POOL_RELEASE_THRESHOLD,
    MEMORY_TYPE_DEVICE,
};

/// A pool of device memory of our own, so that settings of the driver's default
/// pool, which other libraries share, stay as they are. Freed memory stays in
/// the pool for reuse until it is trimmed.
pub struct Pool {
    context: Arc<Context>,
    raw: CuMemPool,
}

// SAFETY: the driver allows a pool to be used from any thread.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

/// How much memory a pool holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolUse {
    /// Bytes taken from the device.
    pub reserved_bytes: u64,
    /// Most bytes ever taken from the device at once.
    pub reserved_bytes_max: u64,
    /// Bytes handed out.
    pub used_bytes: u64,
    /// Most bytes ever handed out at once.
    pub used_bytes_max: u64,
}

impl Pool {
    /// A pool on the context's device.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] below CUDA 11.2, or a failed driver call.
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let api = context.enter()?;
        let missing = |symbol| Error::FunctionMissing { symbol, since: (11, 2) };
        let create = api.mem_pool_create.ok_or(missing("cuMemPoolCreate"))?;
        let set = api.mem_pool_set_attribute.ok_or(missing("cuMemPoolSetAttribute"))?;
        let properties = CuMemPoolProps {
            allocation: MEM_ALLOCATION_PINNED,
            handles: 0,
            location: CuMemLocation { kind: MEM_LOCATION_DEVICE, id: context.device().raw },
            security_attributes: std::ptr::null_mut(),
            bytes_max: 0,
            usage: 0,
            reserved: [0; 54],
        };
        let mut raw: CuMemPool = std::ptr::null_mut();
        // SAFETY: the properties are valid for the call; destroyed in `drop`.
        let status = unsafe { create(&raw mut raw, &raw const properties) };
        check("cuMemPoolCreate", status)?;
        let pool = Self { context: Arc::clone(context), raw };
        let mut threshold = u64::MAX;
        let value: *mut c_void = (&raw mut threshold).cast();
        // SAFETY: this attribute is a 64-bit number.
        let status = unsafe { set(pool.raw, MEM_POOL_RELEASE_THRESHOLD, value) };
        check("cuMemPoolSetAttribute", status)?;
        Ok(pool)
    }

    /// Allocates memory that work enqueued later on `stream` may use. Other
    /// streams must wait for this point of `stream` first.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_OUT_OF_MEMORY`, or a failed driver call.
    pub fn allocate(&self, bytes: usize, stream: &Stream) -> Result<u64> {
        let api = self.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemAllocFromPoolAsync", since: (11, 2) };
        let allocate = api.mem_alloc_from_pool.ok_or(missing)?;
        let mut address: CuDevicePtr = 0;
        // SAFETY: writes one address; the handles live for the call.
        let status = unsafe { allocate(&raw mut address, bytes, self.raw, stream.raw) };
        check("cuMemAllocFromPoolAsync", status)?;
        Ok(address)
    }

    /// Frees memory once the work enqueued on `stream` so far has ended.
    ///
    /// # Safety
    ///
    /// `address` came from [`Pool::allocate`] of this pool and was not freed;
    /// no work uses it but what `stream` has been made to wait for.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn free(&self, address: u64, stream: &Stream) -> Result<()> {
        let api = self.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemFreeAsync", since: (11, 2) };
        let free = api.mem_free_async.ok_or(missing)?;
        // SAFETY: the caller's contract.
        let status = unsafe { free(address, stream.raw) };
        check("cuMemFreeAsync", status)
    }

    /// Gives memory that is not handed out back to the device, down to
    /// `keep_bytes`.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn trim(&self, keep_bytes: usize) -> Result<()> {
        let api = self.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemPoolTrimTo", since: (11, 2) };
        let trim = api.mem_pool_trim.ok_or(missing)?;
        // SAFETY: the handle lives as long as `self`.
        let status = unsafe { trim(self.raw, keep_bytes) };
        check("cuMemPoolTrimTo", status)
    }

    /// How much memory the pool holds, by the driver's counters.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn usage(&self) -> Result<PoolUse> {
        let api = self.context.enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemPoolGetAttribute", since: (11, 2) };
        let get = api.mem_pool_get_attribute.ok_or(missing)?;
        let read = |attribute: u32| -> Result<u64> {
            let mut value = 0u64;
            let pointer: *mut c_void = (&raw mut value).cast();
            // SAFETY: attributes 5 to 8 are 64-bit numbers.
            let status = unsafe { get(self.raw, attribute, pointer) };
            check("cuMemPoolGetAttribute", status)?;
            Ok(value)
        };
        Ok(PoolUse {
            reserved_bytes: read(5)?,
            reserved_bytes_max: read(6)?,
            used_bytes: read(7)?,
            used_bytes_max: read(8)?,
        })
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter()
            && let Some(destroy) = api.mem_pool_destroy
        {
            // SAFETY: destroyed once; memory still handed out stays valid until
            // it is freed.
            let _ = unsafe { destroy(self.raw) };
        }
    }
}

/// Allocates device memory at once, for devices without pools.
///
/// # Errors
///
/// `CUDA_ERROR_OUT_OF_MEMORY`, or a failed driver call.
pub fn allocate_blocking(context: &Context, bytes: usize) -> Result<u64> {
    let api = context.enter()?;
    let mut address: CuDevicePtr = 0;
    // SAFETY: writes one address.
    let status = unsafe { (api.mem_alloc)(&raw mut address, bytes) };
    check("cuMemAlloc", status)?;
    Ok(address)
}

/// Frees memory of [`allocate_blocking`]; waits for the device.
///
/// # Safety
///
/// `address` came from [`allocate_blocking`] in this context, was not freed, and
/// no later work uses it.
///
/// # Errors
///
/// A failed driver call.
pub unsafe fn free_blocking(context: &Context, address: u64) -> Result<()> {
    let api = context.enter()?;
    // SAFETY: the caller's contract.
    let status = unsafe { (api.mem_free)(address) };
    check("cuMemFree", status)
}

/// Pinned host memory, mapped into the device's address space.
pub struct Pinned {
    context: Arc<Context>,
    host: NonNull<u8>,
    device: CuDevicePtr,
    bytes: usize,
}

// SAFETY: plain memory; access is governed by the owner.
unsafe impl Send for Pinned {}
// SAFETY: shared references give addresses only.
unsafe impl Sync for Pinned {}

impl Pinned {
    /// Allocates `bytes` of pinned memory, zeroed.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn new(context: &Arc<Context>, bytes: usize) -> Result<Self> {
        let api = context.enter()?;
        let mut host: *mut c_void = std::ptr::null_mut();
        let flags = MEM_HOST_PORTABLE | MEM_HOST_DEVICE_MAP;
        // SAFETY: writes one address, freed in `drop`.
        let status = unsafe { (api.mem_host_alloc)(&raw mut host, bytes.max(1), flags) };
        check("cuMemHostAlloc", status)?;
        let Some(host) = NonNull::new(host.cast::<u8>()) else {
            return check("cuMemHostAlloc", 2).map(|()| unreachable!("code 2 is an error"));
        };
        let mut pinned = Self { context: Arc::clone(context), host, device: 0, bytes };
        // SAFETY: the memory was just allocated with that many bytes.
        unsafe { host.as_ptr().write_bytes(0, bytes) };
        let get = api.mem_host_get_device_pointer;
        // SAFETY: the memory is pinned and mapped.
        let status = unsafe { get(&raw mut pinned.device, host.as_ptr().cast(), 0) };
        check("cuMemHostGetDevicePointer", status)?;
        Ok(pinned)
    }

    /// The memory's address on the host.
    #[must_use]
    pub fn host(&self) -> *mut u8 {
        self.host.as_ptr()
    }

    /// The memory's address on the device.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Length in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Ok(api) = self.context.enter() {
            // SAFETY: freed once; the driver waits for copies that use it.
            let _ = unsafe { (api.mem_free_host)(self.host.as_ptr().cast()) };
        }
    }
}

/// The shape of a copy of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRows {
    /// Number of rows.
    pub len: usize,
    /// Bytes of a row that are copied.
    pub row_bytes: usize,
    /// Bytes from one row of the source to the next.
    pub source_pitch_bytes: usize,
    /// Bytes from one row of the target to the next.
    pub target_pitch_bytes: usize,
}

impl Stream {
    /// Enqueues a copy from host to device.
    ///
    /// # Safety
    ///
    /// `source` is readable and `target` is device memory of `bytes` bytes; both
    /// stay so, and the source unchanged, until the copy has ended.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn copy_to_device(
        &self,
        target: u64,
        source: *const u8,
        bytes: usize,
    ) -> Result<()> {
        let api = self.context().enter()?;
        let copy = api.memcpy_host_to_device;
        // SAFETY: the caller's contract.
        let status = unsafe { copy(target, source.cast(), bytes, self.raw) };
        check("cuMemcpyHtoDAsync", status)
    }

    /// Enqueues a copy from device to host.
    ///
    /// # Safety
    ///
    /// `source` is device memory and `target` is writable for `bytes` bytes; both
    /// stay so, and the target untouched, until the copy has ended.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn copy_to_host(&self, target: *mut u8, source: u64, bytes: usize) -> Result<()> {
        let api = self.context().enter()?;
        let copy = api.memcpy_device_to_host;
        // SAFETY: the caller's contract.
        let status = unsafe { copy(target.cast(), source, bytes, self.raw) };
        check("cuMemcpyDtoHAsync", status)
    }

    /// Enqueues a copy within the device.
    ///
    /// # Safety
    ///
    /// Both ranges are device memory of `bytes` bytes, do not overlap, and are
    /// used by no other work at the time.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn copy_on_device(&self, target: u64, source: u64, bytes: usize) -> Result<()> {
        let api = self.context().enter()?;
        let copy = api.memcpy_device_to_device;
        // SAFETY: the caller's contract.
        let status = unsafe { copy(target, source, bytes, self.raw) };
        check("cuMemcpyDtoDAsync", status)
    }

    /// Enqueues a copy of rows within the device.
    ///
    /// # Safety
    ///
    /// All rows of both sides are device memory, do not overlap each other, and
    /// are used by no other work at the time.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn copy_rows(&self, target: u64, source: u64, rows: CopyRows) -> Result<()> {
        let api = self.context().enter()?;
        let missing = Error::FunctionMissing { symbol: "cuMemcpy2DAsync", since: (3, 2) };
        let copy = api.memcpy_2d.ok_or(missing)?;
        let description = CuMemcpy2d {
            source_x_bytes: 0,
            source_y: 0,
            source_kind: MEMORY_TYPE_DEVICE,
            source_host: std::ptr::null(),
            source_device: source,
            source_array: std::ptr::null_mut(),
            source_pitch_bytes: rows.source_pitch_bytes,
            target_x_bytes: 0,
            target_y: 0,
            target_kind: MEMORY_TYPE_DEVICE,
            target_host: std::ptr::null_mut(),
            target_device: target,
            target_array: std::ptr::null_mut(),
            target_pitch_bytes: rows.target_pitch_bytes,
            width_bytes: rows.row_bytes,
            height: rows.len,
        };
        // SAFETY: the caller's contract; the description lives for the call.
        let status = unsafe { copy(&raw const description, self.raw) };
        check("cuMemcpy2DAsync", status)
    }

    /// Enqueues a fill with one byte.
    ///
    /// # Safety
    ///
    /// `target` is device memory of `len` bytes that no other work uses at the
    /// time.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn fill_u8(&self, target: u64, value: u8, len: usize) -> Result<()> {
        let api = self.context().enter()?;
        // SAFETY: the caller's contract.
        let status = unsafe { (api.memset_d8)(target, value, len, self.raw) };
        check("cuMemsetD8Async", status)
    }

    /// Enqueues a fill with one 16-bit value.
    ///
    /// # Safety
    ///
    /// `target` is device memory of `len` values, aligned to them, that no other
    /// work uses at the time.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn fill_u16(&self, target: u64, value: u16, len: usize) -> Result<()> {
        let api = self.context().enter()?;
        // SAFETY: the caller's contract.
        let status = unsafe { (api.memset_d16)(target, value, len, self.raw) };
        check("cuMemsetD16Async", status)
    }

    /// Enqueues a fill with one 32-bit value.
    ///
    /// # Safety
    ///
    /// `target` is device memory of `len` values, aligned to them, that no other
    /// work uses at the time.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub unsafe fn fill_u32(&self, target: u64, value: u32, len: usize) -> Result<()> {
        let api = self.context().enter()?;
        // SAFETY: the caller's contract.
        let status = unsafe { (api.memset_d32)(target, value, len, self.raw) };
        check("cuMemsetD32Async", status)
    }
}
