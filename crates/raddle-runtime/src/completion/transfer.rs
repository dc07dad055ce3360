//! Values that work under way uses: moved into the work, and back out of its
//! future.
//!
//! Invariant: memory that a copy may still read or write is never freed or lent
//! out. A future that is dropped early leaves its value with the queue, which
//! drops it when the work has ended; a future that is forgotten leaks it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use raddle_device::param::DeviceType;

use crate::completion::Completion;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::profile::MemoryKind;
use crate::shelf::HostBlock;

/// Work under way together with a value that it uses, which comes back when it
/// has ended.
#[must_use = "a future does nothing unless it is awaited"]
pub struct InFlight<R: Send + 'static> {
    completion: Completion,
    value: Option<R>,
}

impl<R: Send + 'static> InFlight<R> {
    pub(crate) fn new(completion: Completion, value: R) -> Self {
        Self { completion, value: Some(value) }
    }

    /// Waits on this thread and gives the value back.
    ///
    /// ## Errors
    ///
    /// As the future. The value is lost then.
    pub fn wait(mut self) -> Result<R> {
        let point = self.completion.point;
        self.completion.stream.settle(point)?;
        Ok(self.take())
    }

    fn take(&mut self) -> R {
        self.value.take().expect("a future is not polled again after it was ready")
    }
}

impl<R: Send + 'static + Unpin> Future for InFlight<R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<R>> {
        match self.completion.poll_done(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.take())),
            // A refused wait says nothing of the work: the value stays with the
            // queue, by `drop`.
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl<R: Send + 'static> Drop for InFlight<R> {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            self.completion.stream.keep_until(self.completion.point.sequence, Box::new(value));
        }
    }
}

/// Elements on their way to the host, made by [`Stream::to_vec_async`]: a future
/// that gives them as a vector.
///
/// Large results are copied out of pinned memory in parts, so that no poll takes
/// long.
///
/// [`Stream::to_vec_async`]: crate::Stream::to_vec_async
#[must_use = "a future does nothing unless it is awaited"]
pub struct Download<T: DeviceType> {
    arriving: Option<InFlight<Landing>>,
    landed: Option<Landing>,
    target: Vec<T>,
    len: usize,
}

impl<T: DeviceType> Unpin for Download<T> {}

/// Host memory that a copy from the device lands in: a block of the device's shelf,
/// where it goes back to when the copy has ended.
pub(crate) struct Landing {
    device: Device,
    block: Option<HostBlock>,
}

/// Bytes copied in one poll.
const PART_BYTES: usize = 1 << 20;

impl Landing {
    /// Room for `bytes` bytes.
    ///
    /// # Errors
    ///
    /// What the shelf returns.
    pub(crate) fn new(device: &Device, bytes: usize) -> Result<Self> {
        let block = device.shelf().take(device, MemoryKind::Pinned, bytes, false)?;
        Ok(Self { device: device.clone(), block: Some(block) })
    }

    pub(crate) fn pointer(&self) -> *mut u8 {
        self.block.as_ref().expect("there is a block until the drop").host()
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            // Whoever drops a landing knows that its copy has ended.
            self.device.shelf().put(&self.device, block, []);
        }
    }
}

impl<T: DeviceType> Download<T> {
    /// # Safety
    ///
    /// When `arriving` is ready, its landing holds `len` valid elements.
    pub(crate) unsafe fn new(arriving: InFlight<Landing>, len: usize) -> Result<Self> {
        let mut target = Vec::new();
        let too_large = Error::TooLarge { len, element_bytes: size_of::<T>() };
        target.try_reserve_exact(len).map_err(|_| too_large)?;
        Ok(Self { arriving: Some(arriving), landed: None, target, len })
    }

    /// Waits on this thread and gives the elements.
    ///
    /// ## Errors
    ///
    /// As the future.
    pub fn wait(mut self) -> Result<Vec<T>> {
        if let Some(arriving) = self.arriving.take() {
            self.landed = Some(arriving.wait()?);
        }
        while !self.copy_part() {}
        Ok(std::mem::take(&mut self.target))
    }

    /// Copies the next part; whether it was the last.
    fn copy_part(&mut self) -> bool {
        let Some(landed) = &self.landed else { return true };
        let done = self.target.len();
        let part_len = (PART_BYTES / size_of::<T>().max(1)).clamp(1, (self.len - done).max(1));
        let part_len = part_len.min(self.len - done);
        // SAFETY: the landing holds `len` elements and the vector has room for
        // them; pinned memory and fresh bytes do not overlap it. Bytes, since the
        // landing need not be aligned for `T`.
        unsafe {
            let from = landed.pointer().add(done * size_of::<T>());
            let to = self.target.as_mut_ptr().add(done).cast::<u8>();
            to.copy_from_nonoverlapping(from, part_len * size_of::<T>());
            self.target.set_len(done + part_len);
        }
        self.target.len() == self.len
    }
}

impl<T: DeviceType> Future for Download<T> {
    type Output = Result<Vec<T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Vec<T>>> {
        if let Some(arriving) = &mut self.arriving {
            match Pin::new(arriving).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(landed) => {
                    self.arriving = None;
                    self.landed = Some(landed?);
                }
            }
        }
        if self.copy_part() {
            self.landed = None;
            return Poll::Ready(Ok(std::mem::take(&mut self.target)));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
