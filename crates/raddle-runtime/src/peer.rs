//! Copies from one device to another, and access to each other's memory.
//!
//! Work is ordered within a device. A copy between two GPUs runs on a stream of the
//! target's; on the source's side a stream of its own waits for the writers before
//! the copy and for the copy itself, and stands for it among the uses of the source:
//! so the source is not written or freed while the copy reads it.

use raddle_cuda::Event;
use raddle_device::param::DeviceType;

use crate::buffer::{Buffer, Slice, SliceMut};
use crate::call::Accesses;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::launch::Operation;
use crate::stream::Stream;
use crate::timeline::Access;

const COPY: &str = "copy_across";

impl Device {
    /// Whether this GPU can reach `peer`'s memory directly, over NVLink or the bus.
    ///
    /// ## Errors
    ///
    /// A failed driver call.
    pub fn can_access_peer(&self, peer: &Self) -> Result<bool> {
        match (self.cuda_context(), peer.cuda_context()) {
            _ if self.is_same(peer) => Ok(true),
            (Some(own), Some(other)) => Ok(own.device().can_access_peer(other.device())?),
            _ => Ok(false),
        }
    }

    /// Lets this GPU reach `peer`'s memory, that which it has and what it will
    /// allocate. Copies between the two are then direct; without it, the driver
    /// takes them through the host. It stays so for the life of the process.
    ///
    /// ## Errors
    ///
    /// [`Error::Unsupported`] if the two cannot reach each other, or a failed
    /// driver call.
    pub fn enable_peer_access(&self, peer: &Self) -> Result<()> {
        if self.is_same(peer) {
            return Ok(());
        }
        let (Some(own), Some(other)) = (self.cuda_context(), peer.cuda_context()) else {
            return Err(self.no_peer_access());
        };
        if !self.can_access_peer(peer)? {
            return Err(self.no_peer_access());
        }
        own.enable_peer_access(other)?;
        peer.inner().pool.open_to(own.device())
    }

    fn no_peer_access(&self) -> Error {
        Error::Unsupported { device: self.to_string(), what: "access to the other device's memory" }
    }
}

impl<T: DeviceType> Buffer<T> {
    /// The elements in memory of `stream`'s device, copied there on the stream.
    ///
    /// ## Errors
    ///
    /// [`Error::OutOfMemory`], or as [`Stream::copy_across`].
    pub fn to_device(&self, stream: &Stream) -> Result<Self> {
        // SAFETY: all elements are written before the buffer is handed out.
        let mut target = unsafe { stream.uninitialized(self.len())? };
        stream.copy_across(self, &mut target)?;
        Ok(target)
    }
}

impl Stream {
    /// Copies elements of any device to `target`, which is memory of this stream's.
    /// Between two GPUs, and from the CPU device, the copy goes on beside the host;
    /// to the CPU device it is waited for.
    ///
    /// ## Errors
    ///
    /// [`Error::Length`] if the lengths differ, [`Error::WrongDevice`] if the target
    /// is elsewhere, [`Error::DeviceLost`] if the source's device is lost, or a failed
    /// driver call. If that device is lost before the copy has ended, the next wait on
    /// this stream says so. A panic of the kernel that made the source shows at the
    /// next wait for its own stream.
    pub fn copy_across<'a, 'b, T: DeviceType>(
        &self,
        source: impl Into<Slice<'a, T>>,
        target: impl Into<SliceMut<'b, T>>,
    ) -> Result<()> {
        let (source, target) = (source.into(), target.into());
        if !target.device().is_same(self.device()) {
            return Err(self.wrong_device(COPY, target.region));
        }
        if source.device().is_same(self.device()) {
            return self.copy(source, target);
        }
        let (expected, found) = (target.len(), source.len());
        if expected != found {
            return Err(Error::Length { operation: COPY, expected, found });
        }
        match (source.device().is_gpu(), self.device().is_gpu()) {
            (true, true) => self.copy_between_gpus(source, target),
            (false, _) => {
                let pointer = crate::memory::host_pointer(source.address).cast::<T>();
                let maker = Stream::of_region(source.region)?;
                let accesses = Accesses::default().with(source.region, Access::Read);
                maker.submit(Operation::Named(COPY), &accesses, |_, _| Ok(()))?;
                // SAFETY: the CPU device has done all work, and the elements are
                // borrowed for the call.
                let elements = unsafe { std::slice::from_raw_parts(pointer, source.len()) };
                self.write(target, elements)
            }
            (true, false) => {
                let accesses = Accesses::default().with(target.region, target.access);
                let pointer = crate::memory::host_pointer(target.address).cast::<T>();
                self.submit(Operation::Named(COPY), &accesses, |_, _| Ok(()))?;
                // SAFETY: the CPU device has done all work, and the elements are
                // borrowed exclusively for the call.
                let elements = unsafe { std::slice::from_raw_parts_mut(pointer, target.len()) };
                Stream::of_region(source.region)?.download(source, elements)
            }
        }
    }

    fn copy_between_gpus<T: DeviceType>(
        &self,
        source: Slice<'_, T>,
        target: SliceMut<'_, T>,
    ) -> Result<()> {
        let bytes = source.len() * size_of::<T>();
        if let Some(lost) = source.device().inner().lost() {
            return Err(lost);
        }
        let guard = source.device().stream()?;
        let (Some(own), Some(peer)) =
            (self.device().cuda_context(), source.device().cuda_context())
        else {
            unreachable!("both are GPUs")
        };
        let (written, copied) = (Event::for_order(peer)?, Event::for_order(own)?);
        let reads = || Accesses::default().with(source.region, Access::Read);
        guard.submit(Operation::Named(COPY), &reads(), |raw, _| {
            Ok(raw.map_or(Ok(()), |raw| written.record(raw))?)
        })?;
        let accesses = Accesses::default().with(target.region, target.access);
        let copy = self.submit(Operation::Named(COPY), &accesses, |raw, _| {
            let raw = raw.expect("queues of a GPU have a driver stream");
            raw.wait(&written)?;
            if bytes > 0 {
                // SAFETY: the lengths agree; the streams come after every other use
                // on both sides, and the guard's uses after the copy.
                unsafe { raw.copy_from_peer(target.address, peer, source.address, bytes)? };
            }
            Ok(copied.record(raw)?)
        });
        let guarded = copy.and_then(|copied_at| {
            self.queue().borrow_from(source.device(), guard.queue().id, copied_at.sequence);
            guard.submit(Operation::Named(COPY), &reads(), |raw, _| {
                Ok(raw.map_or(Ok(()), |raw| raw.wait(&copied))?)
            })
        });
        match guarded {
            Ok(_) => Ok(()),
            Err(error) => {
                // The copy may be under way and nobody stands for it: wait it out. If
                // that fails too, the device is lost.
                let _ = self.synchronize();
                Err(error)
            }
        }
    }
}
