//! From typed arguments to a parameter block: what a launch function made by
//! `#[kernel]` builds, and what [`Stream::launch`](crate::Stream) takes.

use core::marker::PhantomData;

use raddle_device::kernel::Kernel;
use raddle_device::param::{DeviceType, KernelParam};

/// A host value that may be passed for the kernel parameter `P`.
///
/// `'k` is how long the value's memory stays borrowed: until the call has been
/// enqueued.
pub trait KernelArg<'k, P: KernelParam> {
    /// Writes down what the launch will touch and gives the raw parameter.
    fn bind(self, binder: &mut Binder<'k>) -> P::Raw;
}

impl<'k, T: DeviceType> KernelArg<'k, T> for T {
    fn bind(self, _binder: &mut Binder<'k>) -> T {
        self
    }
}

/// Collects the memory a call touches while its arguments are bound.
pub struct Binder<'k> {
    kernel: &'static Kernel,
    life: PhantomData<&'k mut ()>,
}

impl<'k> Binder<'k> {
    /// A binder for one call of `kernel`.
    #[must_use]
    pub fn new(kernel: &'static Kernel) -> Self {
        Self { kernel, life: PhantomData }
    }

    /// The call, ready to be launched.
    #[must_use]
    pub fn finish<R: Copy>(self, params: R) -> KernelCall<'k, R> {
        KernelCall { kernel: self.kernel, params, life: PhantomData }
    }
}

/// A kernel with its arguments, not yet launched.
#[must_use = "a call does nothing until a stream launches it"]
pub struct KernelCall<'k, R: Copy> {
    /// The kernel.
    pub kernel: &'static Kernel,
    /// Its parameter block.
    pub params: R,
    life: PhantomData<&'k mut ()>,
}
