//! The ledger of memory: what is allocated, mapped and pinned, for whom, and what
//! uses of it are wrong.
//!
//! Device memory has addresses of its own, from [`FIRST_ADDRESS`] up, at which
//! the host has nothing mapped; none is given out twice. Pinned and managed
//! memory has its host address, as with unified addressing. Every access of the
//! fake goes through [`Memory::touch`], which finds the bytes or says what is
//! wrong.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::{BTreeMap, VecDeque};

use crate::handles::Handle;
use crate::races::History;

/// Device addresses begin here: far from where Linux puts a program's own memory.
const FIRST_ADDRESS: u64 = 0x0100_0000_0000;
const ALIGN_BYTES: u64 = 512;
/// How much of a fresh allocation is filled with a pattern, at both ends.
const POISON_BYTES: u64 = 16 << 10;
const POISON: u8 = 0xA5;
/// How many freed ranges are remembered, to name them in reports.
const FREED_LEN_MAX: usize = 4096;

/// Bytes that work touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    pub(crate) is_write: bool,
}

/// Where a range comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `cuMemAlloc`.
    Plain,
    /// `cuMemAllocFromPoolAsync`, `cuMemAllocAsync`.
    Pooled(Handle),
    /// `cuMemHostAlloc`.
    Pinned,
    /// `cuMemHostRegister`.
    Registered,
    /// `cuMemAllocManaged`.
    Managed,
    /// `cuMemAddressReserve`.
    Reserved,
    /// A variable of a module.
    Global,
}

impl Origin {
    /// Whether the host may touch it at its address.
    pub(crate) fn is_host(self) -> bool {
        matches!(self, Self::Pinned | Self::Registered | Self::Managed)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "device memory",
            Self::Pooled(_) => "pool memory",
            Self::Pinned => "pinned memory",
            Self::Registered => "registered host memory",
            Self::Managed => "managed memory",
            Self::Reserved => "a reserved range",
            Self::Global => "a module's variable",
        }
    }
}

/// A piece of a reserved range with memory behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mapping {
    pub(crate) bytes: u64,
    pub(crate) physical: Handle,
    pub(crate) is_accessible: bool,
}

/// One allocation.
#[derive(Debug)]
pub(crate) struct Range {
    pub(crate) address: u64,
    pub(crate) bytes: u64,
    pub(crate) device: i32,
    pub(crate) context: Handle,
    pub(crate) origin: Origin,
    /// Whether its allocation has not been reached in its stream yet.
    pub(crate) is_pending: bool,
    /// Whether its free has been enqueued.
    pub(crate) is_doomed: bool,
    pub(crate) history: History,
    /// By offset; only for reserved ranges.
    pub(crate) mapped: BTreeMap<u64, Mapping>,
    block: Block,
}

/// The host memory that stands for a range; made when it is first touched.
#[derive(Debug)]
struct Block {
    pointer: *mut u8,
    bytes: usize,
    is_ours: bool,
}

// SAFETY: plain memory, which is reached only under the lock of the world or, as
// pinned memory, by those to whom its address was given.
unsafe impl Send for Block {}

/// From this size on, memory comes from the system and costs nothing until it is
/// touched: reserved ranges are as long as a device's memory.
const SPARSE_BYTES: usize = 1 << 20;

/// What `mman.h` has on Linux.
mod sys {
    use std::ffi::{c_int, c_void};

    pub(super) const READ_WRITE: c_int = 1 | 2;
    /// Private, anonymous, without a claim on swap space.
    pub(super) const LAZY: c_int = 0x2 | 0x20 | 0x4000;
    pub(super) const DONT_NEED: c_int = 4;

    unsafe extern "C" {
        pub(super) fn mmap(
            at: *mut c_void,
            bytes: usize,
            protection: c_int,
            flags: c_int,
            file: c_int,
            offset: i64,
        ) -> *mut c_void;
        pub(super) fn munmap(at: *mut c_void, bytes: usize) -> c_int;
        pub(super) fn madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }
}

impl Block {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(1), 4096).expect("sizes are below the address space")
    }

    fn get(&mut self, is_poisoned: bool) -> *mut u8 {
        if !self.pointer.is_null() {
            return self.pointer;
        }
        self.pointer = if self.bytes < SPARSE_BYTES {
            // SAFETY: the layout is not of size zero.
            unsafe { alloc_zeroed(Self::layout(self.bytes)) }
        } else {
            let none = std::ptr::null_mut();
            // SAFETY: a fresh mapping, unmapped in `drop`.
            let at = unsafe { sys::mmap(none, self.bytes, sys::READ_WRITE, sys::LAZY, -1, 0) };
            if at.addr() == usize::MAX { none.cast() } else { at.cast() }
        };
        assert!(!self.pointer.is_null(), "no host memory for {} bytes", self.bytes);
        if is_poisoned {
            let edge = self.bytes.min(POISON_BYTES as usize);
            // SAFETY: both ends lie in the block.
            unsafe { self.pointer.write_bytes(POISON, edge) };
            // SAFETY: as above.
            unsafe { self.pointer.add(self.bytes - edge).write_bytes(POISON, edge) };
        }
        self.pointer
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if !self.is_ours || self.pointer.is_null() {
            return;
        }
        if self.bytes < SPARSE_BYTES {
            // SAFETY: allocated in `get` with this layout.
            unsafe { dealloc(self.pointer, Self::layout(self.bytes)) };
        } else {
            // SAFETY: mapped in `get` with this length.
            unsafe { sys::munmap(self.pointer.cast(), self.bytes) };
        }
    }
}

/// All memory that the driver knows.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    ranges: BTreeMap<u64, Range>,
    next: u64,
    freed: VecDeque<(u64, u64, Origin)>,
    /// Pinned memory that was freed under pending work stays, so that nothing of
    /// the program is overwritten.
    quarantine: Vec<Range>,
}

impl Memory {
    /// Adds a range of device addresses.
    pub(crate) fn add_device(
        &mut self,
        (device, context): (i32, Handle),
        origin: Origin,
        bytes: u64,
        align: u64,
    ) -> u64 {
        let align = align.max(ALIGN_BYTES);
        let address = self.next.max(FIRST_ADDRESS).next_multiple_of(align);
        // A gap, so that an access past the end meets no neighbour.
        self.next = address + bytes.max(1) + ALIGN_BYTES;
        let block = Block { pointer: std::ptr::null_mut(), bytes: bytes as usize, is_ours: true };
        self.insert(Range::new(address, bytes, device, context, origin, block));
        address
    }

    /// Adds host memory of the fake's own, zeroed.
    pub(crate) fn add_host(
        &mut self,
        (device, context): (i32, Handle),
        origin: Origin,
        bytes: u64,
    ) -> u64 {
        let mut block =
            Block { pointer: std::ptr::null_mut(), bytes: bytes as usize, is_ours: true };
        let address = block.get(false).expose_provenance() as u64;
        self.insert(Range::new(address, bytes, device, context, origin, block));
        address
    }

    /// Adds host memory of somebody else.
    pub(crate) fn add_registered(
        &mut self,
        (device, context): (i32, Handle),
        pointer: *mut u8,
        bytes: u64,
    ) {
        let block = Block { pointer, bytes: bytes as usize, is_ours: false };
        let address = pointer.expose_provenance() as u64;
        let range = Range::new(address, bytes, device, context, Origin::Registered, block);
        self.insert(range);
    }

    fn insert(&mut self, range: Range) {
        self.ranges.insert(range.address, range);
    }

    /// The range that holds `address`.
    pub(crate) fn find(&mut self, address: u64) -> Option<&mut Range> {
        let (_, range) = self.ranges.range_mut(..=address).next_back()?;
        (address - range.address < range.bytes.max(1)).then_some(range)
    }

    /// The range that begins at `address`.
    pub(crate) fn at(&mut self, address: u64) -> Option<&mut Range> {
        self.ranges.get_mut(&address)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range> {
        self.ranges.values()
    }

    pub(crate) fn remove(&mut self, address: u64) -> Option<Range> {
        let range = self.ranges.remove(&address)?;
        if self.freed.len() == FREED_LEN_MAX {
            self.freed.pop_front();
        }
        self.freed.push_back((address, address + range.bytes, range.origin));
        Some(range)
    }

    /// Removes a range whose host memory must stay.
    pub(crate) fn remove_to_quarantine(&mut self, address: u64) {
        if let Some(range) = self.remove(address) {
            self.quarantine.push(range);
        }
    }

    /// Forgets everything of a context.
    pub(crate) fn remove_context(&mut self, context: Handle) {
        self.ranges.retain(|_, range| range.context != context);
    }

    /// The host memory of a span.
    ///
    /// # Errors
    ///
    /// What is wrong with touching it now.
    pub(crate) fn touch(&mut self, span: Span) -> Result<*mut u8, String> {
        let (start, end) = (span.address, span.address.wrapping_add(span.bytes));
        let Some(range) = self.find(start) else { return Err(self.describe_nothing(start)) };
        let of = format_args!("{} of {} bytes", range.origin.name(), range.bytes);
        let offset = start - range.address;
        if span.bytes > range.bytes - offset {
            return Err(format!(
                "{} bytes at offset {offset} reach beyond the end of {of}",
                span.bytes
            ));
        }
        if range.is_pending {
            return Err(format!("{of} was used before its allocation was reached"));
        }
        if range.origin == Origin::Reserved {
            range.check_mapped(offset, end - range.address)?;
        }
        let is_poisoned = !range.origin.is_host();
        let base = range.block.get(is_poisoned);
        // SAFETY: the offset lies in the block, as checked above.
        Ok(unsafe { base.add(offset as usize) })
    }

    fn describe_nothing(&self, address: u64) -> String {
        let freed = self.freed.iter().rev().find(|entry| entry.0 <= address && address < entry.1);
        match freed {
            Some((start, end, origin)) => format!(
                "{address:#x} lies in {} of {} bytes that was freed",
                origin.name(),
                end - start
            ),
            None => format!("{address:#x} lies in no allocation"),
        }
    }
}

impl Range {
    fn new(
        address: u64,
        bytes: u64,
        device: i32,
        context: Handle,
        origin: Origin,
        block: Block,
    ) -> Self {
        Self {
            address,
            bytes,
            device,
            context,
            origin,
            is_pending: false,
            is_doomed: false,
            history: History::default(),
            mapped: BTreeMap::new(),
            block,
        }
    }

    /// Whether `start..end` (offsets) has accessible memory behind it.
    fn check_mapped(&self, start: u64, end: u64) -> Result<(), String> {
        let mut at = start;
        while at < end {
            let piece = self.mapped.range(..=at).next_back();
            match piece.filter(|(offset, mapping)| at < *offset + mapping.bytes) {
                Some((offset, mapping)) if mapping.is_accessible => at = offset + mapping.bytes,
                Some(_) => return Err(format!("offset {at} of a reserved range has no access")),
                None => {
                    return Err(format!("nothing is mapped at offset {at} of a reserved range"));
                }
            }
        }
        Ok(())
    }

    /// Makes a part of a reserved range, whole pages, look like fresh memory.
    pub(crate) fn refresh(&mut self, offset: u64, bytes: u64) {
        if self.block.pointer.is_null() || self.block.bytes < SPARSE_BYTES {
            return;
        }
        // SAFETY: callers name a part of the range.
        let at = unsafe { self.block.pointer.add(offset as usize) };
        // SAFETY: whole pages of a mapping of ours, whose content nobody needs.
        unsafe { sys::madvise(at.cast(), bytes as usize, sys::DONT_NEED) };
        // SAFETY: as above.
        unsafe { at.write_bytes(POISON, bytes.min(POISON_BYTES) as usize) };
    }
}
