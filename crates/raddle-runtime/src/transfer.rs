//! Data to a device, back, and within it: what a [`Stream`] does besides launching.
//!
//! Borrowed host memory is free again when a call returns: sources are staged, and
//! targets are waited for. What goes on beside the host owns its memory.

use raddle_device::param::{DeviceType, Zeroable};

use crate::buffer::{Buffer, Slice, SliceMut};
use crate::call::Accesses;
use crate::completion::{Completion, Download, InFlight, Landing};
use crate::error::{Error, Result};
use crate::graph::record::Recorded;
use crate::launch::Operation;
use crate::memory::{ALIGN_BYTES, Region, bytes_of, host_pointer};
use crate::stream::Stream;
use crate::timeline::Access;
use crate::trace::{self, Span};

impl Stream {
    /// A buffer with the elements of `source`.
    ///
    /// ## Errors
    ///
    /// [`Error::OutOfMemory`], or a failed driver call.
    pub fn upload<T: DeviceType>(&self, source: &[T]) -> Result<Buffer<T>> {
        // SAFETY: all elements are written before the buffer is handed out.
        let mut buffer = unsafe { self.uninitialized(source.len())? };
        self.write(&mut buffer, source)?;
        Ok(buffer)
    }

    /// A buffer of `len` zeros.
    ///
    /// ## Errors
    ///
    /// [`Error::OutOfMemory`], or a failed driver call.
    pub fn zeros<T: Zeroable>(&self, len: usize) -> Result<Buffer<T>> {
        let region = self.region(bytes_of::<T>(len)?, true)?;
        // SAFETY: zero bytes are valid elements.
        Ok(unsafe { Buffer::from_region(region, len) })
    }

    /// A buffer of `len` times `value`.
    ///
    /// ## Errors
    ///
    /// [`Error::OutOfMemory`], or a failed driver call.
    pub fn filled<T: DeviceType>(&self, len: usize, value: T) -> Result<Buffer<T>> {
        // SAFETY: all elements are written before the buffer is handed out.
        let mut buffer = unsafe { self.uninitialized(len)? };
        self.fill(&mut buffer, value)?;
        Ok(buffer)
    }

    /// A buffer of `len` elements that are not set.
    ///
    /// # Safety
    ///
    /// Every element is written before it is read, by kernels and by copies.
    ///
    /// ## Errors
    ///
    /// [`Error::OutOfMemory`], or a failed driver call.
    pub unsafe fn uninitialized<T: DeviceType>(&self, len: usize) -> Result<Buffer<T>> {
        const {
            assert!(
                align_of::<T>() <= ALIGN_BYTES,
                "the type wants more than 256 bytes of alignment"
            )
        };
        let region = self.region(bytes_of::<T>(len)?, false)?;
        // SAFETY: the caller's contract.
        Ok(unsafe { Buffer::from_region(region, len) })
    }

    #[inline]
    fn region(&self, bytes: usize, is_zeroed: bool) -> Result<Region> {
        if self.queue().is_capturing() {
            return self.captured_region(bytes, is_zeroed);
        }
        if trace::is_on() {
            let span = Span::begin(self, "allocate");
            let region = Region::new(self.anchor(), self.queue(), bytes, is_zeroed);
            let region = region.map_err(|error| self.with_context(error))?;
            span.end_allocation(self.device(), bytes);
            return Ok(region);
        }
        let region = Region::new(self.anchor(), self.queue(), bytes, is_zeroed);
        region.map_err(|error| self.with_context(error))
    }

    /// Sets every element of `target` to `value`.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongDevice`], or a failed driver call.
    pub fn fill<'a, T: DeviceType>(
        &self,
        target: impl Into<SliceMut<'a, T>>,
        value: T,
    ) -> Result<()> {
        let mut target = target.into();
        if self.queue().is_capturing() && !self.device().is_gpu() {
            return self.record_fill(&target, value);
        }
        // A run of elements from the host, then doubled on the device.
        let run_len = target.len().min((FILL_RUN_BYTES / size_of::<T>().max(1)).max(1));
        let run = vec![value; run_len];
        self.write(target.reborrow().slice_mut(..run_len)?, &run)?;
        let (address, element_bytes) = (target.address, size_of::<T>());
        let accesses = Accesses::default().with(target.region, target.access);
        let filled = self.submit(Operation::Named("fill"), &accesses, |raw, _| {
            let mut done = run_len;
            while done < target.len() {
                let len = done.min(target.len() - done);
                let to = address + (done * element_bytes) as u64;
                // SAFETY: source and target lie in the slice and do not overlap;
                // the stream is in order.
                unsafe { copy_on_device(raw, to, address, len * element_bytes)? };
                done += len;
            }
            Ok(())
        });
        filled.map(|_| ())
    }

    /// Copies `source` from the host to `target`. The source may change as soon as
    /// this returns; the copy itself goes on beside the host.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::WrongDevice`], or a
    /// failed driver call.
    pub fn write<'a, T: DeviceType>(
        &self,
        target: impl Into<SliceMut<'a, T>>,
        source: &[T],
    ) -> Result<()> {
        let target = target.into();
        check_len("write", target.len(), source.len())?;
        if self.queue().is_capturing() {
            return self.record_write(&target, source);
        }
        let bytes = size_of_val(source);
        let accesses = Accesses::default().with(target.region, target.access);
        let written = self.submit(Operation::Named("write"), &accesses, |raw, state| {
            let from = source.as_ptr().cast::<u8>();
            match (raw, &self.device().inner().cuda) {
                _ if bytes == 0 => {}
                // SAFETY: the lengths agree; the stream comes after every other
                // use of the target.
                (Some(raw), Some(cuda)) => unsafe {
                    cuda.staging.copy(raw, &mut state.chunk, target.address, from, bytes)?;
                },
                // SAFETY: the lengths agree; the memory is this call's alone.
                _ => unsafe { host_pointer(target.address).copy_from(from, bytes) },
            }
            Ok(())
        });
        written.map(|_| ())
    }

    /// Waits for the elements of `source` and copies them to the host.
    ///
    /// ## Errors
    ///
    /// A panic or fault of a kernel on this stream, or of one that it waits for;
    /// [`Error::WrongDevice`]; a failed driver call.
    pub fn to_vec<'a, T: DeviceType>(&self, source: impl Into<Slice<'a, T>>) -> Result<Vec<T>> {
        let source = source.into();
        let mut target = Vec::with_capacity(source.len());
        // SAFETY: the vector has room for that many elements.
        unsafe { self.copy_to_host(source, target.as_mut_ptr())? };
        // SAFETY: all elements are written, with values that the device holds as
        // `T`s.
        unsafe { target.set_len(source.len()) };
        Ok(target)
    }

    /// Waits for the elements of `source` and copies them into `target`.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ; otherwise as
    /// [`Stream::to_vec`].
    pub fn download<'a, T: DeviceType>(
        &self,
        source: impl Into<Slice<'a, T>>,
        target: &mut [T],
    ) -> Result<()> {
        let source = source.into();
        check_len("download", source.len(), target.len())?;
        // SAFETY: the lengths agree.
        unsafe { self.copy_to_host(source, target.as_mut_ptr()) }
    }

    /// # Safety
    ///
    /// `target` has room for all elements of `source`.
    unsafe fn copy_to_host<T: DeviceType>(
        &self,
        source: Slice<'_, T>,
        target: *mut T,
    ) -> Result<()> {
        let bytes = source.len() * size_of::<T>();
        let accesses = Accesses::default().with(source.region, Access::Read);
        let to = target.cast::<u8>();
        let point = self.submit(Operation::Named("download"), &accesses, |raw, _| {
            match raw {
                _ if bytes == 0 => {}
                // SAFETY: the caller's contract; `settle` below waits for the
                // copy before the target is given back.
                Some(raw) => unsafe { raw.copy_to_host(to, source.address, bytes)? },
                // SAFETY: the caller's contract.
                None => unsafe { to.copy_from(host_pointer(source.address), bytes) },
            }
            Ok(())
        })?;
        self.settle(point)
    }

    /// Copies the elements of `source` to the host beside everything else: a
    /// future that gives them as a vector. The buffer may be written or dropped
    /// meanwhile: later work waits for the copy.
    ///
    /// ## Errors
    ///
    /// [`Error::WrongDevice`], no pinned memory left for the copy, or a failed
    /// driver call. The future resolves to panics and faults as [`Completion`]
    /// does.
    pub fn to_vec_async<'a, T: DeviceType>(
        &self,
        source: impl Into<Slice<'a, T>>,
    ) -> Result<Download<T>> {
        self.queue().refuse_capture("a download")?;
        let source = source.into();
        let (len, bytes) = (source.len(), source.len() * size_of::<T>());
        let landing = Landing::new(self.device(), bytes);
        let landing = landing.map_err(|error| self.with_context(error))?;
        let to = landing.pointer();
        let accesses = Accesses::default().with(source.region, Access::Read);
        let submitted = self.submit(Operation::Named("download"), &accesses, |raw, _| {
            match raw {
                _ if bytes == 0 => {}
                // SAFETY: the landing has room and stays until the copy has ended:
                // it moves into a future that does not let go of it before.
                Some(raw) => unsafe { raw.copy_to_host(to, source.address, bytes)? },
                // SAFETY: as above.
                None => unsafe { to.copy_from(host_pointer(source.address), bytes) },
            }
            Ok(())
        });
        let point = match submitted {
            Ok(point) => point,
            Err(error) => {
                // A part may have been enqueued all the same.
                self.keep_until(self.queue().point().sequence, Box::new(landing));
                return Err(error);
            }
        };
        let arriving = InFlight::new(Completion::new(self.clone(), point), landing);
        // SAFETY: the copy above fills the landing with elements that the device
        // holds as `T`s.
        unsafe { Download::new(arriving, len) }
    }

    /// Copies `source` to `target` on the device.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::WrongDevice`] if one of
    /// them lives elsewhere, or a failed driver call.
    pub fn copy<'a, 'b, T: DeviceType>(
        &self,
        source: impl Into<Slice<'a, T>>,
        target: impl Into<SliceMut<'b, T>>,
    ) -> Result<()> {
        let (source, target) = (source.into(), target.into());
        check_len("copy", target.len(), source.len())?;
        let accesses = Accesses::default()
            .with(source.region, Access::Read)
            .with(target.region, target.access);
        if self.queue().is_capturing() && !self.device().is_gpu() {
            let bytes = source.len() * size_of::<T>();
            let copy = Recorded::Copy { to: target.address, from: source.address, bytes };
            return self.record_operation("copy", &accesses, copy);
        }
        let copied = self.submit(Operation::Named("copy"), &accesses, |raw, _| {
            let bytes = source.len() * size_of::<T>();
            // SAFETY: the lengths agree; a shared and an exclusive borrow do not
            // overlap.
            unsafe { copy_on_device(raw, target.address, source.address, bytes) }
        });
        copied.map(|_| ())
    }
}

fn check_len(operation: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Length { operation, expected, found }) }
}

/// # Safety
///
/// Both ranges are memory of the stream's device, do not overlap, and are used by
/// no other work at the time.
unsafe fn copy_on_device(
    raw: Option<&raddle_cuda::Stream>,
    target: u64,
    source: u64,
    bytes: usize,
) -> Result<()> {
    match raw {
        _ if bytes == 0 => {}
        // SAFETY: the caller's contract.
        Some(raw) => unsafe { raw.copy_on_device(target, source, bytes)? },
        // SAFETY: the caller's contract.
        None => unsafe {
            host_pointer(target).copy_from_nonoverlapping(host_pointer(source), bytes)
        },
    }
    Ok(())
}

/// Length of the run that a fill takes from the host.
const FILL_RUN_BYTES: usize = 64 << 10;
