//! One allocation on a device: its address, who used it last, and freeing it in
//! stream order.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::sync::atomic::Ordering;

use crate::anchor::Anchor;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::pool::{Block, Point};
use crate::profile::{Made, MemoryKind, Ticket};
use crate::queue::{Queue, QueueState};
use crate::shelf::HostBlock;
use crate::sync::lock;
use crate::timeline::{Access, StreamId, Uses};

/// Memory of a device. Dropping it frees it behind all work that uses it,
/// without waiting. What a launch looks at lies in one cache line.
#[repr(C, align(64))]
pub(crate) struct Region {
    pub(crate) address: u64,
    /// Elements of the buffer that has it.
    pub(crate) len: usize,
    pub(crate) uses: Uses,
    pub(crate) device: Anchor,
    pub(crate) bytes: usize,
    backing: Backing,
    /// The stream it was allocated on.
    home: StreamId,
    ticket: Ticket,
}

/// Where a region's memory comes from and goes to.
enum Backing {
    /// There is none: no bytes.
    Nothing,
    /// A block of the device's pool, of so many bytes.
    Block(u64),
    /// The driver's or the host's allocator, for this region alone.
    Direct,
    /// Host memory that the device reaches. Taken in `drop`.
    Host(Option<HostBlock>),
}

/// The queue of the device's own stream, the first that is made.
const DEFAULT_QUEUE: StreamId = StreamId(1);

/// Alignment of every allocation, as the driver has it.
pub(crate) const ALIGN_BYTES: usize = 256;

impl Region {
    /// Allocates `bytes` bytes, zeroed or with unspecified content, for work
    /// that is enqueued on `queue` from now on.
    #[inline]
    pub(crate) fn new(
        device: &Anchor,
        queue: &Queue,
        bytes: usize,
        is_zeroed: bool,
    ) -> Result<Self> {
        let pool = &device.inner().pool;
        if bytes == 0 || pool.is_direct() {
            return Self::new_direct(device, queue, bytes, is_zeroed);
        }
        let allocated = pool.allocate(device, queue, bytes)?;
        let block = allocated.block;
        let mut region = Self::on(device, queue.id, block.address, bytes);
        region.backing = Backing::Block(block.bytes);
        // Work on other streams comes after what used the memory before.
        let is_settled = allocated.is_settled;
        let behind = if is_settled { 0 } else { queue.enqueued.load(Ordering::Acquire) };
        region.uses.hand_out((queue.id, queue.lease()), behind);
        region.ticket = Ticket::record(
            || Made {
                bytes: block.bytes,
                kind: MemoryKind::Device,
                device: device.kind(),
                stream: queue.id,
                kernel: queue.last_kernel.load(Ordering::Relaxed),
            },
            block.bytes,
        );
        if is_zeroed && !allocated.is_zero {
            region.fill_zero(queue)?;
        }
        Ok(region)
    }

    fn on(device: &Anchor, home: StreamId, address: u64, bytes: usize) -> Self {
        Self {
            device: device.clone(),
            address,
            len: 0,
            bytes,
            uses: Uses::default(),
            backing: Backing::Nothing,
            home,
            ticket: Ticket::default(),
        }
    }

    /// Host memory of this kind that the device reaches, zeroed.
    pub(crate) fn on_host(device: &Device, kind: MemoryKind, bytes: usize) -> Result<Self> {
        let anchor = Anchor::new(device.clone());
        if bytes == 0 {
            return Ok(Self::on(&anchor, DEFAULT_QUEUE, ALIGN_BYTES as u64, 0));
        }
        let block = device.shelf().take(device, kind, bytes, true)?;
        let mut region = Self::on(&anchor, DEFAULT_QUEUE, block.device_address(), bytes);
        let made = Made {
            bytes: block.bytes() as u64,
            kind,
            device: device.kind(),
            stream: StreamId(0),
            kernel: std::ptr::null(),
        };
        region.ticket = Ticket::record(|| made, made.bytes);
        region.backing = Backing::Host(Some(block));
        Ok(region)
    }

    /// What sort of memory it is.
    pub(crate) fn kind(&self) -> MemoryKind {
        match &self.backing {
            Backing::Host(Some(block)) => block.kind(),
            _ => MemoryKind::Device,
        }
    }

    /// Where the host finds the memory at a device address within it, if it can
    /// reach it at all.
    pub(crate) fn on_the_host(&self, address: u64) -> Option<*mut u8> {
        let offset = (address - self.address) as usize;
        match &self.backing {
            _ if self.bytes == 0 || !self.device.is_gpu() => Some(host_pointer(address)),
            // SAFETY: the address lies in the region, and so in the block.
            Backing::Host(Some(block)) => Some(unsafe { block.host().add(offset) }),
            _ => None,
        }
    }

    /// As [`Region::new`], without the pool.
    #[cold]
    fn new_direct(device: &Anchor, queue: &Queue, bytes: usize, is_zeroed: bool) -> Result<Self> {
        if bytes == 0 {
            // Slices of no elements still want an aligned address.
            return Ok(Self::on(device, queue.id, ALIGN_BYTES as u64, 0));
        }
        device.inner().pool.note_direct(bytes)?;
        let address = match (&device.inner().cuda, &queue.raw) {
            (Some(cuda), Some(raw)) => {
                let _state = lock(&queue.state);
                cuda.allocate(bytes, raw).map_err(Error::from)
            }
            _ => allocate_on_host(bytes, is_zeroed).ok_or_else(|| out_of_memory().into()),
        };
        let address = match address {
            Ok(address) => address,
            Err(error) => {
                device.inner().pool.forget_direct(bytes);
                return Err(allocation_error(device, bytes, error));
            }
        };
        let mut region = Self::on(device, queue.id, address, bytes);
        region.backing = Backing::Direct;
        if device.is_gpu() {
            let sequence = queue.enqueued.load(Ordering::Acquire);
            region.uses.hand_out((queue.id, queue.lease()), sequence);
            if is_zeroed {
                region.fill_zero(queue)?;
            }
        }
        Ok(region)
    }

    /// Fills the memory, which nobody else has yet.
    fn fill_zero(&self, queue: &Queue) -> Result<()> {
        let Some(raw) = &queue.raw else {
            // SAFETY: the memory is this region's alone, and the CPU device has done
            // all work when it is enqueued.
            unsafe { host_pointer(self.address).write_bytes(0, self.bytes) };
            return Ok(());
        };
        let mut state = lock(&queue.state);
        // SAFETY: the memory is this region's alone, and the stream comes after
        // everything that used it before.
        unsafe { raw.fill_u8(self.address, 0, self.bytes)? };
        let sequence = queue.next(&mut state);
        self.uses.note((queue.id, queue.lease()), Access::Exclusive, sequence);
        Ok(())
    }

    /// The stream on which the memory was allocated.
    pub(crate) fn home(&self) -> StreamId {
        self.home
    }

    /// A region that owns this one's memory from now on, for the graphs that hold
    /// it.
    fn leave(&mut self) -> Self {
        Self {
            device: self.device.clone(),
            address: self.address,
            len: 0,
            uses: std::mem::take(&mut self.uses),
            bytes: self.bytes,
            backing: std::mem::replace(&mut self.backing, Backing::Nothing),
            home: self.home,
            ticket: std::mem::take(&mut self.ticket),
        }
    }

    /// The stream on which the memory was written last, and the number of the use.
    pub(crate) fn last_write(&self) -> (StreamId, u64) {
        if self.uses.is_held()
            && let Some(replay) = self.device.inner().graphs.lock().last_writer(self.address)
        {
            return (replay.stream, replay.sequence);
        }
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
    #[inline]
    fn drop(&mut self) {
        if self.uses.is_held() && self.leave_to_graphs() {
            return;
        }
        let device = &self.device;
        if crate::trace::is_on() {
            crate::trace::note_free(device, self.bytes);
        }
        match self.backing {
            Backing::Nothing => {}
            Backing::Block(bytes) => {
                self.ticket.release(bytes);
                let block = Block { address: self.address, bytes };
                device.inner().pool.free(device, block, &self.uses, self.home);
            }
            Backing::Direct => self.free_direct(),
            Backing::Host(_) => self.free_host(),
        }
    }
}

impl Region {
    /// Leaves the memory to the graphs that hold it; whether there are any.
    #[cold]
    fn leave_to_graphs(&mut self) -> bool {
        let device = self.device.clone();
        device.inner().graphs.inherit(self, Self::leave)
    }

    #[cold]
    fn free_host(&mut self) {
        let Backing::Host(block) = &mut self.backing else { return };
        let Some(block) = block.take() else { return };
        self.ticket.release(block.bytes() as u64);
        let points = self.uses.all().into_iter();
        let points = points.map(|entry| Point { stream: entry.stream, sequence: entry.sequence });
        self.device.shelf().put(&self.device, block, points);
    }

    #[cold]
    fn free_direct(&self) {
        let device = &self.device;
        device.inner().pool.forget_direct(self.bytes);
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

/// Adds to the driver's refusal what is known of the device's memory.
fn allocation_error(device: &Device, bytes: usize, error: Error) -> Error {
    match &error {
        Error::Cuda(source) if source.status() == Some(raddle_cuda::Status::OUT_OF_MEMORY) => {
            device.inner().pool.out_of_memory(device, bytes)
        }
        _ => error,
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

fn allocate_on_host(bytes: usize, is_zeroed: bool) -> Option<u64> {
    let layout = host_layout(bytes);
    // SAFETY: the size is not zero.
    let pointer = unsafe { if is_zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
    (!pointer.is_null()).then(|| pointer.expose_provenance() as u64)
}

fn out_of_memory() -> raddle_cuda::Error {
    raddle_cuda::Error::Driver { call: "malloc", status: raddle_cuda::Status::OUT_OF_MEMORY }
}

/// The host pointer that a CPU-device address stands for.
pub(crate) fn host_pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}
