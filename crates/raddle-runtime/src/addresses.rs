//! Any number of buffers as one parameter of a foreign kernel, for kernels that are
//! written when their buffers are known.

use raddle_device::param::{DeviceType, KernelParam};

use crate::buffer::{Slice, SliceMut};
use crate::call::{Binder, KernelArg};
use crate::error::Error;
use crate::memory::Region;
use crate::timeline::Access;

/// Most buffers of [`Addresses`].
pub const ADDRESSES_MAX: usize = 16;

/// The parameter type of a foreign kernel that takes addresses of buffers: 128 bytes, in
/// PTX `.param .align 8 .b8 name[128]`, with an address of 8 bytes for each buffer in the
/// order in which it was added, and zeros behind.
#[derive(Clone, Copy, Debug)]
pub struct Addresses(());

// SAFETY: addresses give no safe access.
unsafe impl KernelParam for Addresses {
    type Raw = [u64; ADDRESSES_MAX];

    unsafe fn from_raw(_: *const Self::Raw) -> Self {
        // Foreign kernels read their parameters themselves.
        Self(())
    }
}

/// Buffers for the parameter [`Addresses`].
#[derive(Default)]
pub struct AddressList<'k> {
    all: Vec<(u64, &'k Region, Access)>,
}

impl std::fmt::Debug for AddressList<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|(address, ..)| address)).finish()
    }
}

impl<'k> AddressList<'k> {
    /// No buffers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a buffer that the kernel reads.
    #[must_use]
    pub fn read<T: DeviceType>(self, slice: Slice<'k, T>) -> Self {
        self.read_from(slice, 0)
    }

    /// Adds a buffer that the kernel reads, by the address so many bytes behind its first.
    #[must_use]
    pub fn read_from<T: DeviceType>(mut self, slice: Slice<'k, T>, bytes: u64) -> Self {
        self.all.push((slice.address.wrapping_add(bytes), slice.region, Access::Read));
        self
    }

    /// Adds a buffer that the kernel may write.
    #[must_use]
    pub fn write<T: DeviceType>(mut self, slice: SliceMut<'k, T>) -> Self {
        self.all.push((slice.address, slice.region, slice.access));
        self
    }
}

// SAFETY: every region is touched; what a kernel does with addresses its caller vouches for.
unsafe impl<'k> KernelArg<'k, Addresses> for AddressList<'k> {
    fn bind(self, binder: &mut Binder<'k>) -> [u64; ADDRESSES_MAX] {
        let mut addresses = [0; ADDRESSES_MAX];
        if self.all.len() > ADDRESSES_MAX {
            let reason = format!("it takes {ADDRESSES_MAX} buffers, {} were given", self.all.len());
            binder.refuse(Error::Declaration { kernel: binder.kernel().name.to_owned(), reason });
        }
        for (place, (address, region, access)) in addresses.iter_mut().zip(self.all) {
            *place = address;
            binder.touch(region, access);
        }
        addresses
    }
}
