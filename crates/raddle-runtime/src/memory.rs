//! One allocation on a device: its address, who used it last, and freeing it in
//! stream order.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::atomic::Ordering;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::queue::{Queue, QueueState};
use crate::sync::lock;
use crate::timeline::{Access, StreamId, Uses};

/// Memory of a device. Dropping it frees it behind all work that uses it,
/// without waiting. What a launch looks at lies in one cache line.
#[repr(C, align(64))]
pub(crate) struct Region {
    pub(crate) device: Device,
    pub(crate) address: u64,
    pub(crate) uses: Uses,
    pub(crate) bytes: usize,
    /// The stream it was allocated on.
    home: StreamId,
}

/// Alignment of every allocation, as the driver has it.
pub(crate) const ALIGN_BYTES: usize = 256;

impl Region {
    /// Allocates `bytes` bytes, zeroed or with unspecified content, for work
    /// that is enqueued on `queue` from now on.
    pub(crate) fn new(
        device: &Device,
        queue: &Queue,
        bytes: usize,
        is_zeroed: bool,
    ) -> Result<Self> {
        let region = |address| Self {
            device: device.clone(),
            address,
            bytes,
            uses: Uses::default(),
            home: queue.id,
        };
        if bytes == 0 {
            // Slices of no elements still want an aligned address.
            return Ok(region(ALIGN_BYTES as u64));
        }
        let (Some(cuda), Some(raw)) = (&device.inner().cuda, &queue.raw) else {
            return Ok(region(allocate_on_host(bytes, is_zeroed)?));
        };
        let mut state = lock(&queue.state);
        let address =
            cuda.allocate(bytes, raw).map_err(|error| allocation_error(device, bytes, error))?;
        let region = region(address);
        if is_zeroed {
            // SAFETY: the memory was just allocated on this stream.
            unsafe { raw.fill_u8(address, 0, bytes)? };
        }
        region.uses.note(queue.id, Access::Exclusive, queue.next(&mut state));
        Ok(region)
    }

    /// The stream on which the memory was written last, and the number of the use.
    pub(crate) fn last_write(&self) -> (StreamId, u64) {
        self.uses.last_write().map_or((self.home, 0), |entry| (entry.stream, entry.sequence))
    }
}

impl Queue {
    /// The number of the work that was just enqueued under the lock that `state`
    /// was taken from.
    #[inline]
    pub(crate) fn next(&self, _state: &mut QueueState) -> u64 {
        let sequence = self.enqueued.load(Ordering::Relaxed) + 1;
        self.enqueued.store(sequence, Ordering::Release);
        sequence
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let device = &self.device;
        let Some(cuda) = &device.inner().cuda else {
            // SAFETY: allocated with this layout, and the CPU device has done all
            // work when it is enqueued.
            unsafe { dealloc(host_pointer(self.address), host_layout(self.bytes)) };
            return;
        };
        // Where the memory was used last nothing needs to wait for the free.
        let queue = device.queue(self.uses.last_user().unwrap_or(self.home));
        let Some(raw) = &queue.raw else { return };
        let mut state = lock(&queue.state);
        let waited = self.uses.before((queue.id, 0), Access::Exclusive, &mut |entry| {
            queue.wait_for(&mut state, device, entry)
        });
        if waited.is_ok() {
            // SAFETY: the stream now comes after every use that was noted, and
            // nobody can make a new one.
            let freed = unsafe { cuda.free(self.address, raw) };
            // A failure means a lost context, whose memory is gone as well.
            if freed.is_ok() {
                queue.next(&mut state);
            }
        }
    }
}

fn allocation_error(device: &Device, bytes: usize, error: raddle_cuda::Error) -> Error {
    if error.status() != Some(raddle_cuda::Status::OUT_OF_MEMORY) {
        return error.into();
    }
    let memory = device.memory().ok();
    Error::OutOfMemory {
        device: device.to_string(),
        requested_bytes: bytes,
        free_bytes: memory.map_or(0, |memory| memory.free_bytes),
        total_bytes: memory.map_or(0, |memory| memory.total_bytes),
    }
}

/// Bytes of `len` elements of `T`.
pub(crate) fn bytes_of<T>(len: usize) -> Result<usize> {
    let element_bytes = size_of::<T>();
    // As Rust's own allocations, so that slices of the memory are valid.
    len.checked_mul(element_bytes)
        .filter(|&bytes| isize::try_from(bytes + ALIGN_BYTES).is_ok())
        .ok_or(Error::TooLarge { len, element_bytes })
}

fn host_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, ALIGN_BYTES).expect("sizes are checked when they are computed")
}

fn allocate_on_host(bytes: usize, is_zeroed: bool) -> Result<u64> {
    let layout = host_layout(bytes);
    // SAFETY: the size is not zero.
    let pointer = unsafe { if is_zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
    if pointer.is_null() {
        let total = Device::cpu().memory().map_or(0, |memory| memory.total_bytes);
        if total == 0 {
            handle_alloc_error(layout);
        }
        return Err(allocation_error(&Device::cpu(), bytes, out_of_memory()));
    }
    Ok(pointer.expose_provenance() as u64)
}

fn out_of_memory() -> raddle_cuda::Error {
    raddle_cuda::Error::Driver { call: "malloc", status: raddle_cuda::Status::OUT_OF_MEMORY }
}

/// The host pointer that a CPU-device address stands for.
pub(crate) fn host_pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
