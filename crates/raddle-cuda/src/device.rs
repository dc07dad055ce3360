//! A GPU as the driver lists it: name, limits, memory, place on the bus.

use std::ffi::{c_char, c_int};

use crate::driver::{Driver, text_of};
use crate::error::{Result, check};
use crate::sys::{CuDevice, CuUuid};

/// One GPU. Copying it is free; it holds no context.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    pub(crate) driver: Driver,
    pub(crate) raw: CuDevice,
    ordinal: u32,
}

/// An attribute of a device; the numbers are `CUdevice_attribute`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[non_exhaustive]
pub enum Attribute {
    /// Threads in a block.
    MaxThreadsPerBlock = 1,
    /// Threads in a block along x.
    MaxBlockDimX = 2,
    /// Threads in a block along y.
    MaxBlockDimY = 3,
    /// Threads in a block along z.
    MaxBlockDimZ = 4,
    /// Blocks in a grid along x.
    MaxGridDimX = 5,
    /// Blocks in a grid along y.
    MaxGridDimY = 6,
    /// Blocks in a grid along z.
    MaxGridDimZ = 7,
    /// Shared memory of a block in bytes, without opting in for more.
    MaxSharedMemoryPerBlock = 8,
    /// Threads in a warp.
    WarpSize = 10,
    /// Registers of a block.
    MaxRegistersPerBlock = 12,
    /// Peak clock of the multiprocessors in kHz.
    ClockRate = 13,
    /// Number of multiprocessors.
    MultiprocessorCount = 16,
    /// Whether host memory can be mapped.
    CanMapHostMemory = 19,
    /// PCI bus.
    PciBusId = 33,
    /// PCI device.
    PciDeviceId = 34,
    /// Peak clock of the memory in kHz.
    MemoryClockRate = 36,
    /// Width of the memory bus in bits.
    MemoryBusWidth = 37,
    /// Size of the L2 cache in bytes.
    L2CacheSize = 38,
    /// Threads resident on a multiprocessor.
    MaxThreadsPerMultiprocessor = 39,
    /// PCI domain.
    PciDomainId = 50,
    /// Major part of the compute capability.
    ComputeCapabilityMajor = 75,
    /// Minor part of the compute capability.
    ComputeCapabilityMinor = 76,
    /// Shared memory of a multiprocessor in bytes.
    MaxSharedMemoryPerMultiprocessor = 81,
    /// Whether managed memory exists.
    ManagedMemory = 83,
    /// Whether host and device may use managed memory at the same time.
    ConcurrentManagedAccess = 89,
    /// Whether all blocks of a grid can be made resident at once.
    CooperativeLaunch = 95,
    /// Shared memory of a block in bytes after opting in.
    MaxSharedMemoryPerBlockOptin = 97,
    /// Whether address ranges can be reserved and mapped piece by piece.
    VirtualMemoryManagement = 102,
    /// Shared memory of a block that the driver keeps for itself, in bytes.
    ReservedSharedMemoryPerBlock = 111,
    /// Whether stream-ordered allocation exists.
    MemoryPoolsSupported = 115,
    /// Whether clusters of blocks exist.
    ClusterLaunch = 120,
    /// Whether streams can write 64-bit words (`cuStreamWriteValue64`).
    StreamMemOps64 = 122,
    /// Whether tensor maps exist.
    TensorMapAccess = 127,
}

/// Where a device sits on the PCI bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress {
    /// PCI domain.
    pub domain: u32,
    /// PCI bus.
    pub bus: u32,
    /// PCI device.
    pub device: u32,
}

impl std::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.0", self.domain, self.bus, self.device)
    }
}

impl Device {
    /// The device at `ordinal` among those that the driver shows.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_DEVICE` if there is none.
    pub fn get(driver: Driver, ordinal: u32) -> Result<Self> {
        let mut raw: CuDevice = 0;
        let wanted = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        // SAFETY: writes one device number.
        let status = unsafe { (driver.api().device_get)(&raw mut raw, wanted) };
        check("cuDeviceGet", status)?;
        Ok(Self { driver, raw, ordinal })
    }

    /// The driver that lists the device.
    #[must_use]
    pub fn driver(self) -> Driver {
        self.driver
    }

    /// The device's number among those that the driver shows.
    #[must_use]
    pub fn ordinal(self) -> u32 {
        self.ordinal
    }

    /// The product's name.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn name(self) -> Result<String> {
        let mut bytes = [0u8; 256];
        let pointer: *mut c_char = bytes.as_mut_ptr().cast();
        // SAFETY: the driver writes at most 255 bytes and a zero.
        let status = unsafe { (self.driver.api().device_get_name)(pointer, 256, self.raw) };
        check("cuDeviceGetName", status)?;
        Ok(text_of(&bytes))
    }

    /// The value of an attribute.
    ///
    /// # Errors
    ///
    /// `CUDA_ERROR_INVALID_VALUE` if the driver does not know the attribute.
    pub fn attribute(self, attribute: Attribute) -> Result<i32> {
        let mut value: c_int = 0;
        let api = self.driver.api();
        // SAFETY: writes one int.
        let status =
            unsafe { (api.device_get_attribute)(&raw mut value, attribute as u32, self.raw) };
        check("cuDeviceGetAttribute", status)?;
        Ok(value)
    }

    /// The compute capability, as in (9, 0).
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn compute_capability(self) -> Result<(u32, u32)> {
        let major = self.attribute(Attribute::ComputeCapabilityMajor)?;
        let minor = self.attribute(Attribute::ComputeCapabilityMinor)?;
        Ok((major.unsigned_abs(), minor.unsigned_abs()))
    }

    /// All of the device's memory in bytes.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn total_memory_bytes(self) -> Result<u64> {
        let mut bytes = 0usize;
        // SAFETY: writes one size.
        let status = unsafe { (self.driver.api().device_total_mem)(&raw mut bytes, self.raw) };
        check("cuDeviceTotalMem", status)?;
        Ok(bytes as u64)
    }

    /// The device's unique id: the same in every process and after a restart.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn uuid(self) -> Result<[u8; 16]> {
        let mut uuid = CuUuid::default();
        // SAFETY: writes sixteen bytes.
        let status = unsafe { (self.driver.api().device_get_uuid)(&raw mut uuid, self.raw) };
        check("cuDeviceGetUuid", status)?;
        Ok(uuid.bytes)
    }

    /// Where the device sits on the PCI bus.
    ///
    /// # Errors
    ///
    /// A failed driver call.
    pub fn pci_address(self) -> Result<PciAddress> {
        Ok(PciAddress {
            domain: self.attribute(Attribute::PciDomainId)?.unsigned_abs(),
            bus: self.attribute(Attribute::PciBusId)?.unsigned_abs(),
            device: self.attribute(Attribute::PciDeviceId)?.unsigned_abs(),
        })
    }
}
