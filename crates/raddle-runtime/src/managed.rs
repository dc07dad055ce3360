//! Memory that host and device both reach: mapped (pinned memory of the host that
//! the device reads and writes over the bus) and managed (the driver moves pages to
//! whoever uses them).
//!
//! Both are ordinary [`Buffer`]s for kernels and copies. [`Buffer::host`] and
//! [`Buffer::host_mut`] wait for the work that must come first and then lend the
//! elements; Rust's borrows keep later work away until the host is done.

use raddle_device::param::{DeviceType, Zeroable};

use crate::buffer::{Buffer, Slice};
use crate::call::Accesses;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::launch::Operation;
use crate::memory::{Region, bytes_of};
use crate::profile::MemoryKind;
use crate::stream::Stream;
use crate::timeline::Access;

/// A side of managed memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemorySide {
    /// The host.
    Host,
    /// A device.
    Device(Device),
}

/// How managed memory will be used. Advice changes speed, never results.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryAdvice {
    /// It is mostly read: each side may keep a copy.
    ReadMostly,
    /// It is not mostly read: the beginning.
    NotReadMostly,
    /// It should stay on this side.
    PreferredLocation(MemorySide),
    /// It may be anywhere: the beginning.
    NoPreferredLocation,
    /// The side uses it, and should reach it without a fault.
    AccessedBy(MemorySide),
    /// The side does not use it: the beginning.
    NotAccessedBy(MemorySide),
}

impl Device {
    /// A buffer of `len` zeros in pinned memory of the host, which the device
    /// reaches without a copy. Good for what is read or written once.
    ///
    /// ## Errors
    ///
    /// [`Error::HostMemory`], or a failed driver call.
    pub fn mapped_zeros<T: Zeroable>(&self, len: usize) -> Result<Buffer<T>> {
        self.on_host(MemoryKind::Mapped, len)
    }

    /// A buffer of `len` zeros in managed memory, which the driver moves between
    /// host and devices as they use it.
    ///
    /// ## Errors
    ///
    /// [`Error::HostMemory`]; [`Error::Unsupported`] where the host must not use
    /// such memory while a kernel runs; a failed driver call.
    pub fn managed_zeros<T: Zeroable>(&self, len: usize) -> Result<Buffer<T>> {
        self.on_host(MemoryKind::Managed, len)
    }

    fn on_host<T: Zeroable>(&self, kind: MemoryKind, len: usize) -> Result<Buffer<T>> {
        let region = Region::on_host(self, kind, bytes_of::<T>(len)?)?;
        // SAFETY: the memory is zeroed, and zeros are valid.
        Ok(unsafe { Buffer::from_region(region, len) })
    }
}

impl<T: DeviceType> Buffer<T> {
    /// What sort of memory the elements are in.
    #[must_use]
    pub fn kind(&self) -> MemoryKind {
        self.as_slice().region.kind()
    }

    /// Waits for the work that writes the elements and lends them to the host. Of
    /// mapped and managed memory, and of any memory of the CPU device.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongMemory`] if the host cannot reach the memory; a panic or fault
    /// of a kernel that wrote it; a failed driver call.
    pub fn host(&self) -> Result<&[T]> {
        let slice = self.as_slice();
        let pointer = wait_on_host(slice.region, slice.address, Access::Read)?;
        // SAFETY: `len` elements lie there, aligned as on the device. All writes
        // have ended, and new ones need the buffer exclusively.
        Ok(unsafe { std::slice::from_raw_parts(pointer.cast(), slice.len()) })
    }

    /// Waits for all work that uses the elements and lends them to the host, for
    /// writing. Later work sees what was written.
    ///
    /// ## Errors
    ///
    /// As [`Buffer::host`].
    pub fn host_mut(&mut self) -> Result<&mut [T]> {
        let slice = self.as_slice_mut();
        let pointer = wait_on_host(slice.region, slice.address, Access::Exclusive)?;
        // SAFETY: as in `host`; all work has ended, and the buffer is borrowed
        // exclusively.
        Ok(unsafe { std::slice::from_raw_parts_mut(pointer.cast(), slice.len()) })
    }

    /// Tells the driver how the buffer's managed memory will be used.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongMemory`] if it is not managed, or a failed driver call.
    pub fn advise(&self, advice: &MemoryAdvice) -> Result<()> {
        let region = self.as_slice().region;
        check_managed("advise", region)?;
        let Some(context) = self.device().cuda_context() else { return Ok(()) };
        if region.bytes == 0 {
            return Ok(());
        }
        use raddle_cuda::Advice;
        let (raw, side) = match advice {
            MemoryAdvice::ReadMostly => (Advice::ReadMostly, raddle_cuda::Side::Host),
            MemoryAdvice::NotReadMostly => (Advice::NotReadMostly, raddle_cuda::Side::Host),
            MemoryAdvice::PreferredLocation(side) => (Advice::PreferredLocation, raw_side(side)),
            MemoryAdvice::NoPreferredLocation => {
                (Advice::NoPreferredLocation, raddle_cuda::Side::Host)
            }
            MemoryAdvice::AccessedBy(side) => (Advice::AccessedBy, raw_side(side)),
            MemoryAdvice::NotAccessedBy(side) => (Advice::NotAccessedBy, raw_side(side)),
        };
        // SAFETY: the region is managed memory of that many bytes.
        unsafe { raddle_cuda::advise(context, region.address, region.bytes, raw, side)? };
        Ok(())
    }
}

impl Stream {
    /// Moves managed elements to a side ahead of their use there.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongMemory`] if the memory is not managed, [`Error::WrongDevice`],
    /// or a failed driver call.
    pub fn prefetch<'a, T: DeviceType>(
        &self,
        elements: impl Into<Slice<'a, T>>,
        to: &MemorySide,
    ) -> Result<()> {
        let elements = elements.into();
        check_managed("prefetch", elements.region)?;
        let bytes = elements.len() * size_of::<T>();
        let accesses = Accesses::default().with(elements.region, Access::Read);
        self.submit(Operation::Named("prefetch"), &accesses, |raw, _| {
            if let Some(raw) = raw.filter(|_| bytes > 0) {
                // SAFETY: the elements are managed memory, which stays until the
                // stream has come this far.
                unsafe { raw.prefetch(elements.address, bytes, raw_side(to))? };
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn raw_side(side: &MemorySide) -> raddle_cuda::Side {
    match side {
        MemorySide::Host => raddle_cuda::Side::Host,
        MemorySide::Device(device) => match device.cuda_context() {
            Some(context) => raddle_cuda::Side::Device(context.device()),
            // The CPU device's memory is the host's.
            None => raddle_cuda::Side::Host,
        },
    }
}

fn check_managed(operation: &'static str, region: &Region) -> Result<()> {
    let found = region.kind();
    if found == MemoryKind::Managed || region.bytes == 0 {
        return Ok(());
    }
    Err(Error::WrongMemory { operation, expected: "managed", found: found.name() })
}

/// Waits until the host may use the memory like this; where it finds it.
fn wait_on_host(region: &Region, address: u64, access: Access) -> Result<*mut u8> {
    let Some(pointer) = region.on_the_host(address) else {
        let (operation, expected) = ("host", "mapped or managed");
        return Err(Error::WrongMemory { operation, expected, found: region.kind().name() });
    };
    if region.bytes > 0 {
        let stream = Stream::of_region(region)?;
        let accesses = Accesses::default().with(region, access);
        stream.submit(Operation::Named("host"), &accesses, |_, _| Ok(()))?;
        stream.synchronize()?;
    }
    Ok(pointer)
}
