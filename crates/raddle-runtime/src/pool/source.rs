//! Where a pool's memory comes from: the host's allocator, the driver's address
//! ranges with memory mapped piece by piece, or the driver's plain allocations
//! where it has no such ranges. All of them stay within one budget.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raddle_cuda::{AddressRange, Context, PhysicalMemory, Status};

use super::heap::{Mapped, Source};
use crate::memory::ALIGN_BYTES;

/// Why there is no more memory.
#[derive(Clone, Debug)]
pub(crate) enum SourceError {
    /// The device, or the limit that was set, has no more.
    Full,
    /// Something else is wrong.
    Driver(raddle_cuda::Error),
}

impl From<raddle_cuda::Error> for SourceError {
    fn from(error: raddle_cuda::Error) -> Self {
        match error.status() {
            Some(Status::OUT_OF_MEMORY) => Self::Full,
            _ => Self::Driver(error),
        }
    }
}

/// How much memory the heaps of a device have taken and may take.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: AtomicU64,
    reserved_bytes: AtomicU64,
    reserved_bytes_max: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            limit_bytes: AtomicU64::new(limit_bytes),
            reserved_bytes: AtomicU64::new(0),
            reserved_bytes_max: AtomicU64::new(0),
        })
    }

    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_limit_bytes(&self, bytes: u64) {
        self.limit_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn reserved_bytes(&self) -> u64 {
        self.reserved_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn reserved_bytes_max(&self) -> u64 {
        self.reserved_bytes_max.load(Ordering::Relaxed)
    }

    pub(crate) fn reset_max(&self) {
        self.reserved_bytes_max.store(self.reserved_bytes(), Ordering::Relaxed);
    }

    /// Takes `bytes` of what is left, to be given back by [`Budget::give`].
    fn take(&self, bytes: u64) -> Result<(), SourceError> {
        let limit = self.limit_bytes();
        let take = |reserved: u64| reserved.checked_add(bytes).filter(|&sum| sum <= limit);
        let order = Ordering::Relaxed;
        let before = self.reserved_bytes.fetch_update(order, order, take);
        let before = before.map_err(|_| SourceError::Full)?;
        self.reserved_bytes_max.fetch_max(before + bytes, order);
        Ok(())
    }

    fn give(&self, bytes: u64) {
        self.reserved_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Memory of one heap.
pub(crate) enum DeviceSource {
    Host(HostSegments),
    Segments(CudaSegments),
    Virtual(VirtualSpace),
}

impl Source for DeviceSource {
    type Error = SourceError;

    fn map(&mut self, bytes: u64) -> Result<Mapped, SourceError> {
        match self {
            Self::Host(source) => source.map(bytes),
            Self::Segments(source) => source.map(bytes),
            Self::Virtual(source) => source.map(bytes),
        }
    }

    fn map_behind(&mut self, address: u64, bytes: u64) -> Option<Result<Mapped, SourceError>> {
        match self {
            Self::Host(_) | Self::Segments(_) => None,
            Self::Virtual(source) => source.map_behind(address, bytes),
        }
    }

    fn unmap(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        match self {
            Self::Host(source) => source.unmap(range),
            Self::Segments(source) => source.unmap(range),
            Self::Virtual(source) => source.unmap(range),
        }
    }

    fn is_joined(&self, address: u64) -> bool {
        match self {
            Self::Host(source) => !source.segments.contains_key(&address),
            Self::Segments(source) => !source.segments.contains_key(&address),
            // Address ranges are never next to each other in one heap: there is one.
            Self::Virtual(_) => true,
        }
    }
}

/// Segments of the host's memory, for the CPU device.
pub(crate) struct HostSegments {
    budget: Arc<Budget>,
    /// By first address: length, and where the allocator put it.
    segments: BTreeMap<u64, (u64, *mut u8)>,
}

// SAFETY: the pointers are this source's own allocations.
unsafe impl Send for HostSegments {}

impl HostSegments {
    pub(crate) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), segments: BTreeMap::new() }
    }

    fn layout(bytes: u64) -> Option<Layout> {
        // The allocator's own alignment lets it give pages that are zero without
        // touching them; the rest is done here.
        let bytes = usize::try_from(bytes).ok()?.checked_add(ALIGN_BYTES)?;
        Layout::from_size_align(bytes, 16).ok()
    }

    fn map(&mut self, bytes: u64) -> Result<Mapped, SourceError> {
        let bytes = bytes.checked_next_multiple_of(PIECE_BYTES).ok_or(SourceError::Full)?;
        let layout = Self::layout(bytes).ok_or(SourceError::Full)?;
        self.budget.take(bytes)?;
        // SAFETY: the size is not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() {
            self.budget.give(bytes);
            return Err(SourceError::Full);
        }
        let start = (pointer.expose_provenance() as u64).next_multiple_of(ALIGN_BYTES as u64);
        self.segments.insert(start, (bytes, pointer));
        Ok(Mapped { range: start..start + bytes, is_zero: true })
    }

    fn unmap(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let Some(&(bytes, pointer)) = self.segments.get(&range.start) else { return Vec::new() };
        if range.start + bytes > range.end {
            return Vec::new();
        }
        self.segments.remove(&range.start);
        let layout = Self::layout(bytes).expect("it was allocated with this layout");
        // SAFETY: allocated with this layout; nothing uses it any more.
        unsafe { dealloc(pointer, layout) };
        self.budget.give(bytes);
        std::iter::once(range.start..range.start + bytes).collect()
    }
}

impl Drop for HostSegments {
    fn drop(&mut self) {
        for (bytes, pointer) in std::mem::take(&mut self.segments).into_values() {
            let layout = Self::layout(bytes).expect("it was allocated with this layout");
            // SAFETY: as above: the pool goes after everything it handed out.
            unsafe { dealloc(pointer, layout) };
        }
    }
}

/// Segments by `cuMemAlloc`, for drivers without address ranges.
pub(crate) struct CudaSegments {
    context: Arc<Context>,
    budget: Arc<Budget>,
    /// Length by first address.
    segments: BTreeMap<u64, u64>,
}

impl CudaSegments {
    pub(crate) fn new(context: &Arc<Context>, budget: &Arc<Budget>) -> Self {
        let (context, budget) = (Arc::clone(context), Arc::clone(budget));
        Self { context, budget, segments: BTreeMap::new() }
    }

    fn map(&mut self, bytes: u64) -> Result<Mapped, SourceError> {
        let bytes = bytes.checked_next_multiple_of(PIECE_BYTES).ok_or(SourceError::Full)?;
        self.budget.take(bytes)?;
        match raddle_cuda::allocate_blocking(&self.context, bytes as usize) {
            Ok(start) => {
                self.segments.insert(start, bytes);
                Ok(Mapped { range: start..start + bytes, is_zero: false })
            }
            Err(error) => {
                self.budget.give(bytes);
                Err(error.into())
            }
        }
    }

    fn unmap(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let Some(&bytes) = self.segments.get(&range.start) else { return Vec::new() };
        if range.start + bytes > range.end {
            return Vec::new();
        }
        // SAFETY: the segment came from `allocate_blocking`; nothing uses it now.
        if unsafe { raddle_cuda::free_blocking(&self.context, range.start) }.is_err() {
            return Vec::new();
        }
        self.segments.remove(&range.start);
        self.budget.give(bytes);
        std::iter::once(range.start..range.start + bytes).collect()
    }
}

impl Drop for CudaSegments {
    fn drop(&mut self) {
        for start in std::mem::take(&mut self.segments).into_keys() {
            // SAFETY: the segment came from `allocate_blocking`; the pool goes after
            // everything it handed out. A failure means a lost context.
            let _ = unsafe { raddle_cuda::free_blocking(&self.context, start) };
        }
    }
}

/// One range of addresses with pieces of memory mapped where they are needed.
pub(crate) struct VirtualSpace {
    context: Arc<Context>,
    budget: Arc<Budget>,
    granularity_bytes: u64,
    /// Reserved when the first piece is mapped.
    range: Option<AddressRange>,
    range_bytes: u64,
    /// By address.
    pieces: BTreeMap<u64, PhysicalMemory>,
    /// Who may use the memory: the device itself and peers.
    devices: Vec<raddle_cuda::Device>,
}

impl VirtualSpace {
    /// # Errors
    ///
    /// A failed driver call, or a driver without address ranges.
    pub(crate) fn new(
        context: &Arc<Context>,
        budget: &Arc<Budget>,
    ) -> Result<Self, raddle_cuda::Error> {
        let granularity_bytes = (raddle_cuda::granularity(context)? as u64).max(PIECE_BYTES);
        let (_, total_bytes) = context.memory_bytes()?;
        Ok(Self {
            context: Arc::clone(context),
            budget: Arc::clone(budget),
            granularity_bytes,
            range: None,
            // Room for holes. Addresses cost nothing.
            range_bytes: (total_bytes * 4).next_multiple_of(granularity_bytes),
            pieces: BTreeMap::new(),
            devices: vec![context.device()],
        })
    }

    /// Lets a peer device reach the memory, that which is mapped and what comes.
    pub(crate) fn open_to(&mut self, peer: raddle_cuda::Device) -> Result<(), raddle_cuda::Error> {
        if self.devices.iter().any(|device| device.ordinal() == peer.ordinal()) {
            return Ok(());
        }
        let mut devices = self.devices.clone();
        devices.push(peer);
        if let Some(range) = &self.range {
            for (&address, piece) in &self.pieces {
                // SAFETY: the piece is mapped; nobody loses access.
                unsafe { range.open(address, piece.bytes(), &devices)? };
            }
        }
        self.devices = devices;
        Ok(())
    }

    /// The first address behind everything that is mapped.
    fn end(&self, start: u64) -> u64 {
        self.pieces.last_key_value().map_or(start, |(at, piece)| at + piece.bytes() as u64)
    }

    /// The lowest place below the end where nothing is mapped for `bytes`.
    fn hole(&self, start: u64, bytes: u64) -> Option<u64> {
        let mut free = start;
        for (&address, piece) in &self.pieces {
            if address - free >= bytes {
                return Some(free);
            }
            free = address + piece.bytes() as u64;
        }
        None
    }

    fn map(&mut self, bytes: u64) -> Result<Mapped, SourceError> {
        let bytes = bytes.checked_next_multiple_of(self.granularity_bytes);
        let bytes = bytes.filter(|&bytes| bytes <= self.range_bytes).ok_or(SourceError::Full)?;
        if self.range.is_none() {
            self.range = Some(AddressRange::reserve(&self.context, self.range_bytes as usize)?);
        }
        let start = self.range.as_ref().map_or(0, AddressRange::start);
        let address = self.hole(start, bytes).unwrap_or_else(|| self.end(start));
        self.map_at(address, bytes)
    }

    fn map_behind(&mut self, address: u64, bytes: u64) -> Option<Result<Mapped, SourceError>> {
        let start = self.range.as_ref()?.start();
        if address != self.end(start) {
            return None;
        }
        let bytes = bytes.checked_next_multiple_of(self.granularity_bytes)?;
        Some(self.map_at(address, bytes))
    }

    /// Maps `bytes` at an address where nothing is, in pieces.
    fn map_at(&mut self, address: u64, bytes: u64) -> Result<Mapped, SourceError> {
        let range = self.range.as_ref().expect("reserved before anything is mapped");
        if address + bytes > range.start() + self.range_bytes {
            return Err(SourceError::Full);
        }
        self.budget.take(bytes)?;
        let (mut at, end) = (address, address + bytes);
        let mut made = Vec::new();
        let mut failed = None;
        while at < end {
            let piece_bytes =
                (end - at).min(PIECE_BYTES_MAX.next_multiple_of(self.granularity_bytes));
            let piece =
                PhysicalMemory::create(&self.context, piece_bytes as usize).and_then(|piece| {
                    // SAFETY: the piece lies in the range, where nothing is mapped.
                    unsafe { range.map(at, &piece, &self.devices)? };
                    Ok(piece)
                });
            match piece {
                Ok(piece) => made.push((at, piece)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            at += piece_bytes;
        }
        let Some(error) = failed else {
            self.pieces.extend(made);
            return Ok(Mapped { range: address..end, is_zero: false });
        };
        for (at, piece) in made {
            // SAFETY: just mapped; nobody was told of it.
            let _ = unsafe { range.unmap(at, piece.bytes()) };
        }
        self.budget.give(bytes);
        Err(error.into())
    }

    fn unmap(&mut self, free: Range<u64>) -> Vec<Range<u64>> {
        let Some(range) = &self.range else { return Vec::new() };
        let within = |(&at, piece): (&u64, &PhysicalMemory)| {
            let end = at + piece.bytes() as u64;
            (end <= free.end).then_some(at..end)
        };
        let candidates: Vec<_> = self.pieces.range(free.clone()).filter_map(within).collect();
        let mut gone = Vec::new();
        for piece in candidates {
            let bytes = piece.end - piece.start;
            // SAFETY: one whole piece, which nothing uses any more.
            if unsafe { range.unmap(piece.start, bytes as usize) }.is_ok() {
                self.pieces.remove(&piece.start);
                self.budget.give(bytes);
                gone.push(piece);
            }
        }
        gone
    }
}

impl Drop for VirtualSpace {
    fn drop(&mut self) {
        self.unmap(0..u64::MAX);
    }
}

/// Memory is mapped in multiples of this.
pub(crate) const PIECE_BYTES: u64 = 2 << 20;
/// Longest piece, so that a part of a large range can go when it is free.
const PIECE_BYTES_MAX: u64 = 32 << 20;
