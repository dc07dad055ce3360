//! The facade reduced to what the macros' expansions refer to, so that their tests
//! need neither the runtime nor a compiler for the GPU.

pub use raddle_macros::{DeviceType, Zeroable, kernel, ptx};

#[doc(hidden)]
pub mod __private {
    pub use crate::call::*;
    pub use raddle_device::kernel::*;
    pub use raddle_device::param::*;

    /// As in device builds, of which these tests make the program's half only.
    pub mod launch {
        pub fn begin(_record: u64, _tag: u64) {}
    }
}

pub mod prelude {
    pub use raddle_device::*;
    pub use raddle_macros::{DeviceType, Zeroable, kernel};
}

/// A host value lent to a kernel.
pub struct Lent<T>(pub T);

mod call {
    use core::marker::PhantomData;

    use raddle_device::PerThread;
    use raddle_device::kernel::Kernel;
    use raddle_device::param::{DeviceType, KernelParam, RawSlice};

    pub trait KernelArg<'k, P: KernelParam> {
        fn bind(self, binder: &mut Binder<'k>) -> P::Raw;
    }

    impl<'k, T: DeviceType> KernelArg<'k, T> for T {
        fn bind(self, _: &mut Binder<'k>) -> T {
            self
        }
    }

    impl<'k, T: DeviceType, const N: usize> KernelArg<'k, &'static [T]>
        for crate::Lent<&'k [T; N]>
    {
        fn bind(self, _: &mut Binder<'k>) -> RawSlice {
            RawSlice { ptr: self.0.as_ptr() as u64, len: N as u64 }
        }
    }

    impl<'k, T: DeviceType, const N: usize> KernelArg<'k, PerThread<T>>
        for crate::Lent<&'k [T; N]>
    {
        fn bind(self, _: &mut Binder<'k>) -> RawSlice {
            RawSlice { ptr: self.0.as_ptr() as u64, len: N as u64 }
        }
    }

    pub struct Binder<'k>(&'static Kernel, PhantomData<&'k ()>);

    impl<'k> Binder<'k> {
        pub fn new(kernel: &'static Kernel) -> Self {
            Self(kernel, PhantomData)
        }

        /// # Safety
        ///
        /// As in the runtime.
        pub unsafe fn finish<R: Copy>(self, params: R) -> KernelCall<'k, R> {
            KernelCall { kernel: self.0, params, life: PhantomData }
        }
    }

    pub struct KernelCall<'k, R> {
        pub kernel: &'static Kernel,
        pub params: R,
        life: PhantomData<&'k ()>,
    }
}
