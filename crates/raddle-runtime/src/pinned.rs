//! Pinned host memory: what copies between host and device go fastest from and to.
//!
//! A [`Pinned`] is owned by one side at a time: it moves into a copy and comes back
//! from the copy's [`InFlight`]. Nobody has a reference to it meanwhile, and if the
//! handle is dropped early or forgotten the memory stays until the copy has ended.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use raddle_device::param::{DeviceType, Zeroable};

use crate::buffer::{Slice, SliceMut};
use crate::call::Accesses;
use crate::completion::InFlight;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::launch::Operation;
use crate::memory::{bytes_of, host_pointer};
use crate::profile::{Made, MemoryKind, Ticket};
use crate::shelf::HostBlock;
use crate::stream::Stream;
use crate::timeline::{Access, StreamId};

/// Elements of `T` in pinned host memory.
pub struct Pinned<T: DeviceType> {
    /// Taken in `drop`.
    block: Option<HostBlock>,
    device: Device,
    len: usize,
    ticket: Ticket,
    element: PhantomData<T>,
}

impl<T: DeviceType> Pinned<T> {
    /// # Safety
    ///
    /// All elements are written, or zeros are valid, before they are read.
    unsafe fn new(device: &Device, len: usize) -> Result<Self> {
        let bytes = bytes_of::<T>(len)?;
        let block = device.shelf().take(device, MemoryKind::Pinned, bytes, true)?;
        let made = Made {
            bytes: block.bytes() as u64,
            kind: MemoryKind::Pinned,
            device: device.kind(),
            stream: StreamId(0),
            kernel: std::ptr::null(),
        };
        let ticket = Ticket::record(|| made, made.bytes);
        Ok(Self { block: Some(block), device: device.clone(), len, ticket, element: PhantomData })
    }

    /// The device for which the memory was pinned.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    fn pointer(&self) -> *mut T {
        self.block.as_ref().expect("only `drop` takes the block").host().cast()
    }

    fn len_of(&self) -> usize {
        self.len
    }

    fn len_bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// Copies the elements to `address`, on a stream of the driver or at once.
    ///
    /// # Safety
    ///
    /// There is room for them at `address` on the stream's device, which nobody else
    /// uses at the time; they stay as they are until the copy has ended.
    unsafe fn copy_to(&self, raw: Option<&raddle_cuda::Stream>, address: u64) -> Result<()> {
        let (host, bytes) = (self.pointer().cast::<u8>(), self.len_bytes());
        match raw {
            _ if bytes == 0 => {}
            // SAFETY: the caller's contract.
            Some(raw) => unsafe { raw.copy_to_device(address, host, bytes)? },
            // SAFETY: the caller's contract.
            None => unsafe { host_pointer(address).copy_from(host, bytes) },
        }
        Ok(())
    }
}

impl<T: DeviceType> Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `len` valid elements; while a copy is under way
        // nobody has the value.
        unsafe { std::slice::from_raw_parts(self.pointer(), self.len) }
    }
}

impl<T: DeviceType> DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and exclusively borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(), self.len) }
    }
}

impl<T: DeviceType> std::fmt::Debug for Pinned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pinned<{}>({} for {})", std::any::type_name::<T>(), self.len, self.device.kind())
    }
}

impl<T: DeviceType> Drop for Pinned<T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.ticket.release(block.bytes() as u64);
            // Work that used it has ended, or the value would be with the work.
            self.device.shelf().put(&self.device, block, []);
        }
    }
}

impl Device {
    /// Pinned host memory with the elements of `source`.
    ///
    /// ## Errors
    ///
    /// [`Error::HostMemory`], or a failed driver call.
    pub fn pinned<T: DeviceType>(&self, source: &[T]) -> Result<Pinned<T>> {
        // SAFETY: all elements are written before the value is handed out.
        let pinned: Pinned<T> = unsafe { Pinned::new(self, source.len())? };
        // SAFETY: the block has room for the elements and is this call's alone.
        unsafe { pinned.pointer().copy_from_nonoverlapping(source.as_ptr(), source.len()) };
        Ok(pinned)
    }

    /// Pinned host memory of `len` zeros.
    ///
    /// ## Errors
    ///
    /// [`Error::HostMemory`], or a failed driver call.
    pub fn pinned_zeros<T: Zeroable>(&self, len: usize) -> Result<Pinned<T>> {
        // SAFETY: the memory is zeroed, and zeros are valid.
        unsafe { Pinned::new(self, len) }
    }
}

impl Stream {
    /// Copies pinned elements to `target`. The copy goes on beside the host; the
    /// pinned memory comes back when it has ended.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::WrongDevice`], or a
    /// failed driver call. The pinned memory is lost to the caller then.
    pub fn write_pinned<'a, T: DeviceType>(
        &self,
        target: impl Into<SliceMut<'a, T>>,
        source: Pinned<T>,
    ) -> Result<InFlight<Pinned<T>>> {
        let target = target.into();
        let accesses = Accesses::default().with(target.region, target.access);
        let copy = |raw: Option<&raddle_cuda::Stream>, source: &Pinned<T>| {
            // SAFETY: the lengths agree; the value stays with the work, and the target
            // is this call's alone.
            unsafe { source.copy_to(raw, target.address) }
        };
        self.move_through("write_pinned", accesses, target.len(), source, Pinned::len_of, copy)
    }

    /// Copies pinned elements to `target`, one piece behind the other, as one piece of
    /// work: its end is marked once, where as many [`Stream::write_pinned`] would mark
    /// the end of each. The pieces come back together, in their order.
    ///
    /// ## Errors
    ///
    /// As [`Stream::write_pinned`]; [`Error::Length`] if the pieces together are not as
    /// long as the target.
    pub fn write_pinned_vectored<'a, T: DeviceType>(
        &self,
        target: impl Into<SliceMut<'a, T>>,
        sources: Vec<Pinned<T>>,
    ) -> Result<InFlight<Vec<Pinned<T>>>> {
        let target = target.into();
        let accesses = Accesses::default().with(target.region, target.access);
        let len = |sources: &Vec<Pinned<T>>| sources.iter().map(|source| source.len).sum();
        let copy = |raw: Option<&raddle_cuda::Stream>, sources: &Vec<Pinned<T>>| {
            let mut address = target.address;
            for source in sources {
                // SAFETY: the pieces together are as long as the target, which is this
                // call's alone; they stay with the work.
                unsafe { source.copy_to(raw, address)? };
                address += source.len_bytes() as u64;
            }
            Ok(())
        };
        let expected = target.len();
        self.move_through("write_pinned_vectored", accesses, expected, sources, len, copy)
    }

    /// Copies the elements of `source` to pinned memory. The copy goes on beside
    /// the host; the pinned memory comes back, with the elements, when it has
    /// ended.
    ///
    /// ## Errors
    ///
    /// As [`Stream::write_pinned`].
    pub fn read_pinned<'a, T: DeviceType>(
        &self,
        source: impl Into<Slice<'a, T>>,
        target: Pinned<T>,
    ) -> Result<InFlight<Pinned<T>>> {
        let source = source.into();
        let accesses = Accesses::default().with(source.region, Access::Read);
        let copy = |raw: Option<&raddle_cuda::Stream>, target: &Pinned<T>| {
            let (host, bytes) = (target.pointer().cast::<u8>(), target.len_bytes());
            match raw {
                _ if bytes == 0 => {}
                // SAFETY: the lengths agree; the value stays with the work.
                Some(raw) => unsafe { raw.copy_to_host(host, source.address, bytes)? },
                // SAFETY: the lengths agree; the memory is this call's alone.
                None => unsafe { host.copy_from(host_pointer(source.address), bytes) },
            }
            Ok(())
        };
        self.move_through("read_pinned", accesses, source.len(), target, Pinned::len_of, copy)
    }

    /// Enqueues copies from or to pinned memory, which stays with the work.
    fn move_through<R: Send + 'static>(
        &self,
        operation: &'static str,
        accesses: Accesses<'_>,
        expected: usize,
        pinned: R,
        len: impl FnOnce(&R) -> usize,
        copy: impl FnOnce(Option<&raddle_cuda::Stream>, &R) -> Result<()>,
    ) -> Result<InFlight<R>> {
        let found = len(&pinned);
        if expected != found {
            return Err(Error::Length { operation, expected, found });
        }
        let submitted =
            self.submit(Operation::Named(operation), &accesses, |raw, _| copy(raw, &pinned));
        let in_flight = InFlight::new(self.done(), pinned);
        // Even a copy that was refused may have begun: dropping the handle leaves
        // the memory with the stream.
        submitted.map(|_| in_flight)
    }
}
