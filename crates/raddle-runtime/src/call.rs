//! From typed arguments to a parameter block: what a launch function made by
//! `#[kernel]` builds, and what [`Stream::launch`](crate::Stream::launch) takes.
//!
//! Invariant: a [`KernelCall`] borrows everything that it names for `'k`, so that
//! memory cannot be freed, moved, or lent out again in a conflicting way before
//! the call has been enqueued. After that the order of work keeps it safe.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use raddle_device::kernel::Kernel;
use raddle_device::param::{DeviceType, KernelParam};

use crate::error::Error;
use crate::memory::Region;
use crate::timeline::{Access, Lease, OwnWords, StreamId};

/// A host value that may be passed for the kernel parameter `P`.
///
/// `'k` is how long the value's memory stays borrowed: until the call has been
/// enqueued.
///
/// # Safety
///
/// `bind` gives a raw parameter from which `P::from_raw` makes a valid `P` in
/// every thread of the launch, on the device whose memory it names, and touches
/// every region that `P` can reach, for writing if `P` can write.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed for the kernel parameter `{P}`",
    note = "pass device types by value, `&buffer` for `&[T]`, `&mut buffer` for `PerThread<T>`, `buffer.chunks_mut(len)` for `PerBlock<T, N>` and `PerWarp<T, N>`"
)]
pub unsafe trait KernelArg<'k, P: KernelParam> {
    /// Writes down what the launch will touch and gives the raw parameter.
    fn bind(self, binder: &mut Binder<'k>) -> P::Raw;
}

// SAFETY: plain data, which names no memory.
unsafe impl<'k, T: DeviceType> KernelArg<'k, T> for T {
    #[inline]
    fn bind(self, _binder: &mut Binder<'k>) -> T {
        self
    }
}

/// Collects the memory a call touches while its arguments are bound.
pub struct Binder<'k> {
    kernel: &'static Kernel,
    accesses: Accesses<'k>,
    error: Option<Box<Error>>,
}

impl<'k> Binder<'k> {
    /// A binder for one call of `kernel`.
    #[inline]
    #[must_use]
    pub fn new(kernel: &'static Kernel) -> Self {
        Self { kernel, accesses: Accesses::default(), error: None }
    }

    /// The kernel whose call this is.
    #[must_use]
    pub fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    #[inline]
    pub(crate) fn touch(&mut self, region: &'k Region, access: Access) {
        self.accesses.push(region, access);
    }

    pub(crate) fn into_parts(self) -> (Accesses<'k>, Option<Box<Error>>) {
        (self.accesses, self.error)
    }

    /// Makes the launch fail with the first error that an argument gave.
    #[cold]
    pub(crate) fn refuse(&mut self, error: Error) {
        self.error.get_or_insert(Box::new(error));
    }

    /// The call, ready to be launched.
    ///
    /// # Safety
    ///
    /// `params` is the parameter block of the binder's kernel, and each of its
    /// fields came from binding an argument to this binder.
    #[inline]
    pub unsafe fn finish<R: Copy>(self, params: R) -> KernelCall<'k, R> {
        let Self { kernel, accesses, error } = self;
        KernelCall { kernel, params, accesses, error }
    }
}

/// A kernel with its arguments, not yet launched.
#[must_use = "a call does nothing until a stream launches it"]
pub struct KernelCall<'k, R: Copy> {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its parameter block.
    pub params: R,
    pub(crate) accesses: Accesses<'k>,
    pub(crate) error: Option<Box<Error>>,
}

/// Something that [`Stream::launch`](crate::Stream::launch) can enqueue: a
/// [`KernelCall`], or a [`ForeignCall`](crate::ForeignCall).
pub trait Call: sealed::Call {}

impl<T: sealed::Call> Call for T {}

pub(crate) mod sealed {
    use crate::completion::Point;
    use crate::{Grid, Result, Stream};

    /// How a call is enqueued; only this crate knows.
    pub trait Call {
        /// Checks and enqueues the call.
        fn enqueue(self, stream: &Stream, grid: &Grid) -> Result<Point>;
    }
}

impl<R: Copy> sealed::Call for KernelCall<'_, R> {
    #[inline]
    fn enqueue(
        self,
        stream: &crate::Stream,
        grid: &crate::Grid,
    ) -> crate::Result<crate::completion::Point> {
        if let Some(error) = self.error {
            return Err(*error);
        }
        let params = (&raw const self.params).cast::<u8>();
        // SAFETY: the parameter block lives until the launch has copied it or,
        // on the CPU, ended; a `KernelCall` is only made by bindings that name
        // every region it points to.
        unsafe { stream.launch_params(grid, self.kernel, params, size_of::<R>(), &self.accesses) }
    }
}

const INLINE_LEN: usize = 12;

/// The memory that a piece of work uses: up to twelve regions without touching
/// the heap.
pub(crate) struct Accesses<'k> {
    inline: [MaybeUninit<Tagged>; INLINE_LEN],
    len: usize,
    more: Vec<Tagged>,
    life: PhantomData<&'k Region>,
}

/// A region's address with the access in its lowest two bits.
#[derive(Clone, Copy)]
struct Tagged(*const Region);

const _: () = assert!(align_of::<Region>() >= 4, "two low bits of an address are free");

impl Tagged {
    #[inline]
    fn new(region: &Region, access: Access) -> Self {
        Self(std::ptr::from_ref(region).map_addr(|address| address | access as usize))
    }

    #[inline(always)]
    fn access(self) -> Access {
        match self.0.addr() & 3 {
            0 => Access::Read,
            1 => Access::Write,
            _ => Access::Exclusive,
        }
    }

    /// # Safety
    ///
    /// The region lives for `'k`.
    #[inline(always)]
    unsafe fn region<'k>(self) -> &'k Region {
        // SAFETY: the caller's contract; without the tag it is the address that
        // `new` was given.
        unsafe { &*self.0.map_addr(|address| address & !3) }
    }

    /// # Safety
    ///
    /// The region lives for `'k`.
    #[inline]
    unsafe fn get<'k>(self) -> (&'k Region, Access) {
        // SAFETY: the caller's contract.
        (unsafe { self.region() }, self.access())
    }
}

impl Default for Accesses<'_> {
    #[inline]
    fn default() -> Self {
        let inline = [const { MaybeUninit::uninit() }; INLINE_LEN];
        Self { inline, len: 0, more: Vec::new(), life: PhantomData }
    }
}

impl<'k> Accesses<'k> {
    #[inline]
    pub(crate) fn push(&mut self, region: &'k Region, access: Access) {
        let tagged = Tagged::new(region, access);
        match self.inline.get_mut(self.len) {
            Some(slot) => {
                slot.write(tagged);
                self.len += 1;
            }
            None => self.more.push(tagged),
        }
    }

    #[inline]
    pub(crate) fn with(mut self, region: &'k Region, access: Access) -> Self {
        self.push(region, access);
        self
    }

    /// Whether all of the memory is this lease's own (see [`Uses::is_owned`]).
    ///
    /// [`Uses::is_owned`]: crate::timeline::Uses::is_owned
    #[inline(always)]
    pub(crate) fn are_owned(&self, lease: Lease) -> bool {
        let is_owned = |tagged: &Tagged| {
            // SAFETY: `push` borrowed each region for `'k`.
            unsafe { tagged.region() }.uses.is_owned(lease)
        };
        // Without an early end: nearly always all of them are.
        let inline = self.inline().iter().fold(true, |all, tagged| all & is_owned(tagged));
        inline && self.more.iter().all(is_owned)
    }

    /// Notes work `sequence` of a stream with all of the memory, which it owns.
    #[inline(always)]
    pub(crate) fn note_owned(&self, stream: StreamId, sequence: u64) {
        let words = OwnWords::new(stream, sequence);
        let note = |tagged: &Tagged| {
            // SAFETY: `push` borrowed each region for `'k`.
            unsafe { tagged.region() }.uses.note_owned(words, tagged.access());
        };
        self.inline().iter().for_each(note);
        if !self.more.is_empty() {
            self.more.iter().for_each(note);
        }
    }

    #[inline(always)]
    fn inline(&self) -> &[Tagged] {
        let written = &raw const self.inline[..self.len];
        // SAFETY: the first `len` slots were written by `push`.
        unsafe { &*(written as *const [Tagged]) }
    }

    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'k Region, Access)> {
        // SAFETY: `push` borrowed each region for `'k`.
        self.inline().iter().chain(&self.more).map(|tagged| unsafe { tagged.get() })
    }
}
