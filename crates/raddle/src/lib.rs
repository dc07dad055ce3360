//! GPU computing in plain Rust.
//!
//! Kernels are ordinary Rust functions marked [`macro@kernel`], compiled to PTX at
//! build time by `raddle-build` and launched on an NVIDIA GPU where there is one,
//! on the CPU otherwise.
#![cfg_attr(raddle_device, no_std)]
#![forbid(unsafe_code)]

pub use raddle_device as device;
pub use raddle_device::shared;
pub use raddle_macros::{DeviceType, Zeroable, kernel, ptx};

#[cfg(not(raddle_device))]
pub use raddle_runtime::*;

/// What the macros' expansions refer to; not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use raddle_device::kernel::*;
    #[cfg(raddle_device)]
    pub use raddle_device::launch;
    pub use raddle_device::param::*;
    #[cfg(not(raddle_device))]
    pub use raddle_runtime::call::*;
}

/// The names that most programs want.
pub mod prelude {
    pub use crate::device::*;
    pub use crate::{DeviceType, Zeroable, kernel, ptx};
    #[cfg(not(raddle_device))]
    pub use raddle_runtime::{Buffer, Device, Error, Grid, Stream};
}
