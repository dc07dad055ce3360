//! Host memory that devices reach, in blocks that are used again: pinned, mapped
//! and managed.
//!
//! To pin or free memory takes the driver many microseconds and may wait for the
//! device, so a block that is dropped rests on its device's shelf, with the work
//! that may still use it, until somebody wants one like it or memory is trimmed.
//! No block is freed or handed out before its work has ended.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use raddle_cuda::{Attribute, Context};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::memory::ALIGN_BYTES;
use crate::pool::{Pending, Point};
use crate::profile::MemoryKind;
use crate::sync::lock;

/// Bytes of such memory that the program holds.
static HELD_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes of pinned, mapped and managed memory that the program holds.
pub(crate) fn held_bytes() -> u64 {
    HELD_BYTES.load(Ordering::Relaxed)
}

/// Host memory that a device can reach.
pub(crate) struct HostBlock {
    kind: MemoryKind,
    host: *mut u8,
    device_address: u64,
    bytes: usize,
    owner: Owner,
}

// SAFETY: plain memory; who may touch it when is decided by the block's owner.
unsafe impl Send for HostBlock {}
// SAFETY: as above.
unsafe impl Sync for HostBlock {}

enum Owner {
    /// The host's allocator, for the CPU device.
    Host(Layout),
    Pinned(
        #[expect(dead_code, reason = "frees the memory when it is dropped")] raddle_cuda::Pinned,
    ),
    Managed(Arc<Context>),
}

impl HostBlock {
    fn new(device: &Device, kind: MemoryKind, bytes: usize) -> Result<Self> {
        let Some(context) = device.cuda_context() else { return Self::plain(kind, bytes) };
        if kind != MemoryKind::Managed {
            let pinned = raddle_cuda::Pinned::new(context, bytes)?;
            let (host, device_address) = (pinned.host(), pinned.device());
            return Ok(Self { kind, host, device_address, bytes, owner: Owner::Pinned(pinned) });
        }
        // Elsewhere the host must not touch it while any kernel runs.
        let is_concurrent = context.device().attribute(Attribute::ConcurrentManagedAccess)?;
        if is_concurrent != 1 {
            let device = device.to_string();
            return Err(Error::Unsupported {
                device,
                what: "managed memory that the host may use at any time",
            });
        }
        let address = raddle_cuda::allocate_managed(context, bytes)?;
        let host: *mut u8 = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: managed memory has one address on both sides; nobody has it yet.
        unsafe { host.write_bytes(0, bytes) };
        let owner = Owner::Managed(Arc::clone(context));
        Ok(Self { kind, host, device_address: address, bytes, owner })
    }

    fn plain(kind: MemoryKind, bytes: usize) -> Result<Self> {
        let layout = Layout::from_size_align(bytes, ALIGN_BYTES);
        let layout = layout.map_err(|_| Error::TooLarge { len: bytes, element_bytes: 1 })?;
        // SAFETY: the size is not zero.
        let host = unsafe { alloc_zeroed(layout) };
        if host.is_null() {
            return Err(Error::HostMemory { requested_bytes: bytes });
        }
        let device_address = host.expose_provenance() as u64;
        Ok(Self { kind, host, device_address, bytes, owner: Owner::Host(layout) })
    }

    /// The memory's address on the host.
    pub(crate) fn host(&self) -> *mut u8 {
        self.host
    }

    /// The memory's address on the device.
    pub(crate) fn device_address(&self) -> u64 {
        self.device_address
    }

    pub(crate) fn kind(&self) -> MemoryKind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for HostBlock {
    fn drop(&mut self) {
        match &self.owner {
            // SAFETY: allocated with this layout; the shelf knows that nothing uses
            // it any more.
            Owner::Host(layout) => unsafe { dealloc(self.host, *layout) },
            Owner::Pinned(_) => {}
            Owner::Managed(context) => {
                // SAFETY: as above. A failure means a lost context.
                let _ = unsafe { raddle_cuda::free_blocking(context, self.device_address) };
            }
        }
    }
}

/// The blocks of one device that nobody has.
#[derive(Default)]
pub(crate) struct Shelf {
    resting: Mutex<Vec<Resting>>,
}

struct Resting {
    block: HostBlock,
    pending: Pending,
}

impl Shelf {
    /// A block of at least `bytes` bytes that no work uses, zeroed if that is asked
    /// for.
    ///
    /// # Errors
    ///
    /// [`Error::HostMemory`], [`Error::Unsupported`], or a failed driver call.
    pub(crate) fn take(
        &self,
        device: &Device,
        kind: MemoryKind,
        bytes: usize,
        is_zeroed: bool,
    ) -> Result<HostBlock> {
        let rounded =
            bytes.max(1).next_multiple_of(if bytes < STEP_BYTES { 256 } else { STEP_BYTES });
        let block = match self.find(device, kind, rounded) {
            Some(block) => {
                if is_zeroed {
                    // SAFETY: nobody else has the block, and its work has ended.
                    unsafe { block.host.write_bytes(0, block.bytes) };
                }
                block
            }
            None => HostBlock::new(device, kind, rounded)?,
        };
        HELD_BYTES.fetch_add(block.bytes as u64, Ordering::Relaxed);
        Ok(block)
    }

    /// The shortest block that suits and whose work has ended.
    fn find(&self, device: &Device, kind: MemoryKind, bytes: usize) -> Option<HostBlock> {
        let mut resting = lock(&self.resting);
        let suits = |block: &HostBlock| {
            block.kind == kind && block.bytes >= bytes && block.bytes - bytes <= bytes / 2
        };
        let mut candidates: Vec<usize> =
            (0..resting.len()).filter(|&at| suits(&resting[at].block)).collect();
        candidates.sort_by_key(|&at| resting[at].block.bytes);
        let has_ended = |&at: &usize| resting[at].pending.has_ended(device);
        let at = candidates.into_iter().find(has_ended)?;
        Some(resting.swap_remove(at).block)
    }

    /// Takes a block back that the work at `points` may still use.
    pub(crate) fn put(
        &self,
        device: &Device,
        block: HostBlock,
        points: impl IntoIterator<Item = Point>,
    ) {
        HELD_BYTES.fetch_sub(block.bytes as u64, Ordering::Relaxed);
        let mut resting = lock(&self.resting);
        resting.push(Resting { block, pending: Pending::of(points) });
        let total =
            |resting: &[Resting]| resting.iter().map(|rest| rest.block.bytes).sum::<usize>();
        if resting.len() > LEN_MAX || total(&resting) > BYTES_MAX {
            let gone = resting.iter().position(|rest| rest.pending.has_ended(device));
            let gone = gone.map(|at| resting.remove(at));
            // The driver takes its time: others need not wait for it.
            drop(resting);
            drop(gone);
        }
    }

    /// Frees what no work uses any more.
    pub(crate) fn trim(&self, device: &Device) {
        let mut resting = lock(&self.resting);
        let gone: Vec<Resting> =
            resting.extract_if(.., |rest| rest.pending.has_ended(device)).collect();
        drop(resting);
        drop(gone);
    }
}

/// Longer blocks are multiples of this.
const STEP_BYTES: usize = 64 << 10;
/// Blocks on a shelf, and their bytes, from which on the oldest go.
const LEN_MAX: usize = 64;
const BYTES_MAX: usize = 512 << 20;
