//! Launching a kernel whose parameters are one block of bytes.

use std::ffi::c_void;

use crate::error::{Error, Result, check};
use crate::module::Function;
use crate::stream::Stream;
use crate::sys::{
    CuLaunchAttribute, CuLaunchConfig, LAUNCH_ATTRIBUTE_CLUSTER,
    LAUNCH_ATTRIBUTE_PROGRAMMATIC_SERIALIZATION,
};

/// Shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along each axis.
    pub grid: [u32; 3],
    /// Threads of a block along each axis.
    pub block: [u32; 3],
    /// Blocks of a cluster along each axis; `[0; 3]` for the kernel's own.
    pub cluster: [u32; 3],
    /// Dynamic shared memory of a block in bytes.
    pub dynamic_shared_bytes: u32,
    /// Whether the kernel may begin before the one ahead of it in the stream
    /// has ended (programmatic dependent launch).
    pub is_programmatic: bool,
}

impl Stream {
    /// Enqueues `function` with one pointer for each of its parameters.
    ///
    /// # Safety
    ///
    /// Each pointer is to a value of the size of the parameter it stands for, and
    /// the kernel, run with these parameters in this shape, touches only memory it
    /// may touch. Pointers beyond the function's parameters are not looked at.
    ///
    /// # Errors
    ///
    /// [`Error::FunctionMissing`] for clusters and programmatic launches below
    /// CUDA 11.6, or a failed driver call.
    #[inline]
    pub unsafe fn launch(
        &self,
        function: &Function,
        shape: &Shape,
        params: &mut [*mut c_void],
    ) -> Result<()> {
        if shape.cluster != [0; 3] || shape.is_programmatic {
            // SAFETY: the caller's contract.
            return unsafe { self.launch_with_attributes(function, shape, params) };
        }
        let ([gx, gy, gz], [bx, by, bz]) = (shape.grid, shape.block);
        let (shared, params) = (shape.dynamic_shared_bytes, params.as_mut_ptr());
        let (launch, none) = (self.launch_kernel, std::ptr::null_mut());
        self.context().check_usable()?;
        let status = self.entry.with(|| {
            // SAFETY: the caller's contract; the handles live for the call.
            unsafe { launch(function.raw, gx, gy, gz, bx, by, bz, shared, self.raw, params, none) }
        });
        check("cuLaunchKernel", status)
    }

    /// # Safety
    ///
    /// As for [`Stream::launch`].
    unsafe fn launch_with_attributes(
        &self,
        function: &Function,
        shape: &Shape,
        params: &mut [*mut c_void],
    ) -> Result<()> {
        let api = self.context().enter()?;
        let missing = Error::FunctionMissing { symbol: "cuLaunchKernelEx", since: (11, 6) };
        let launch = api.launch_kernel_ex.ok_or(missing)?;
        let mut attributes = [CuLaunchAttribute { id: 0, pad: 0, value: [0; 16] }; 2];
        let mut len = 0;
        if shape.cluster != [0; 3] {
            attributes[len].id = LAUNCH_ATTRIBUTE_CLUSTER;
            attributes[len].value[..3].copy_from_slice(&shape.cluster);
            len += 1;
        }
        if shape.is_programmatic {
            attributes[len].id = LAUNCH_ATTRIBUTE_PROGRAMMATIC_SERIALIZATION;
            attributes[len].value[0] = 1;
            len += 1;
        }
        let config = CuLaunchConfig {
            grid: shape.grid,
            block: shape.block,
            shared_bytes: shape.dynamic_shared_bytes,
            stream: self.raw,
            attributes: attributes.as_mut_ptr(),
            attributes_len: u32::try_from(len).expect("at most two attributes"),
        };
        // SAFETY: the caller's contract; configuration and attributes live for
        // the call.
        let status = unsafe {
            launch(&raw const config, function.raw, params.as_mut_ptr(), std::ptr::null_mut())
        };
        check("cuLaunchKernelEx", status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{CuMemPoolProps, CuTensorMap};

    /// Sizes and offsets as the C compiler lays out cuda.h on 64-bit machines.
    #[test]
    fn structs_are_laid_out_as_in_the_header() {
        assert_eq!(size_of::<CuLaunchAttribute>(), 72);
        assert_eq!(std::mem::offset_of!(CuLaunchAttribute, value), 8);
        assert_eq!(size_of::<CuLaunchConfig>(), 56);
        assert_eq!(std::mem::offset_of!(CuLaunchConfig, stream), 32);
        assert_eq!(std::mem::offset_of!(CuLaunchConfig, attributes), 40);
        assert_eq!(size_of::<CuMemPoolProps>(), 88);
        assert_eq!(std::mem::offset_of!(CuMemPoolProps, security_attributes), 16);
        assert_eq!(size_of::<CuTensorMap>(), 128);
    }
}
