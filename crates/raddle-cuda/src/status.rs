//! The driver's result codes: their names, what they mean for the context, and
//! what a person can do about them.
//!
//! The names are our own table because a broken driver cannot be asked, and so
//! that an error keeps its name after the library failed to load.

/// A result code of the driver (`CUresult`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

/// What a failed call says about the context it ran in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The call failed and nothing else did.
    Call,
    /// The context is lost: every later call in it returns the same error. The
    /// device can be used again after the context was reset, or by a new process.
    Context,
    /// The driver or the device is lost to this process.
    Process,
}

impl Status {
    /// The call succeeded.
    pub const SUCCESS: Self = Self(0);
    /// An argument is out of range.
    pub const INVALID_VALUE: Self = Self(1);
    /// The device has no memory left for the request.
    pub const OUT_OF_MEMORY: Self = Self(2);
    /// No device answers.
    pub const NO_DEVICE: Self = Self(100);
    /// The ordinal names no device.
    pub const INVALID_DEVICE: Self = Self(101);
    /// The context is not current, or gone.
    pub const INVALID_CONTEXT: Self = Self(201);
    /// A handle belongs to another context, or is gone.
    pub const INVALID_HANDLE: Self = Self(400);
    /// The image is neither PTX nor a cubin.
    pub const INVALID_IMAGE: Self = Self(200);
    /// The image holds no code for this device.
    pub const NO_BINARY_FOR_GPU: Self = Self(209);
    /// The PTX does not assemble.
    pub const INVALID_PTX: Self = Self(218);
    /// The PTX is newer than the driver.
    pub const UNSUPPORTED_PTX_VERSION: Self = Self(222);
    /// A named symbol is not in the module.
    pub const NOT_FOUND: Self = Self(500);
    /// Work is still under way.
    pub const NOT_READY: Self = Self(600);
    /// Access to the peer was enabled before.
    pub const PEER_ACCESS_ALREADY_ENABLED: Self = Self(704);
    /// Access to the peer was never enabled.
    pub const PEER_ACCESS_NOT_ENABLED: Self = Self(705);
    /// The driver or device cannot do this.
    pub const NOT_SUPPORTED: Self = Self(801);

    /// A changed graph has another shape than the instantiated one.
    pub const GRAPH_EXEC_UPDATE_FAILURE: Self = Self(910);

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.code == self.0)
    }

    /// The code's name in `cuda.h`, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().map_or("CUDA_ERROR (not in this table)", |row| row.name)
    }

    /// What the code means, and what to do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        self.row().map_or("look the number up in cuda.h", |row| row.advice)
    }

    /// What the code says about the context.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().map_or(Severity::Call, |row| row.severity)
    }
}

struct Row {
    code: u32,
    name: &'static str,
    severity: Severity,
    advice: &'static str,
}

const fn row(code: u32, name: &'static str, severity: Severity, advice: &'static str) -> Row {
    Row { code, name, severity, advice }
}

use Severity::{Call, Context, Process};

const ROWS: &[Row] = &[
    row(0, "CUDA_SUCCESS", Call, "nothing is wrong"),
    row(1, "CUDA_ERROR_INVALID_VALUE", Call, "an argument is out of range"),
    row(2, "CUDA_ERROR_OUT_OF_MEMORY", Call, "free buffers, or ask for less"),
    row(
        3,
        "CUDA_ERROR_NOT_INITIALIZED",
        Process,
        "the driver was not initialised in this process; after a fork, start a new process instead",
    ),
    row(4, "CUDA_ERROR_DEINITIALIZED", Process, "the driver is shutting down with the process"),
    row(
        34,
        "CUDA_ERROR_STUB_LIBRARY",
        Process,
        "the toolkit's stub libcuda was loaded instead of the driver's: take its folder out of LD_LIBRARY_PATH",
    ),
    row(
        46,
        "CUDA_ERROR_DEVICE_UNAVAILABLE",
        Call,
        "another process holds the device in exclusive mode, or it is being reset",
    ),
    row(
        100,
        "CUDA_ERROR_NO_DEVICE",
        Call,
        "no GPU is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES",
    ),
    row(
        101,
        "CUDA_ERROR_INVALID_DEVICE",
        Call,
        "the ordinal is not below the number of visible devices",
    ),
    row(
        200,
        "CUDA_ERROR_INVALID_IMAGE",
        Call,
        "the image is neither PTX nor a cubin that this driver reads",
    ),
    row(201, "CUDA_ERROR_INVALID_CONTEXT", Call, "the context was destroyed or reset"),
    row(
        209,
        "CUDA_ERROR_NO_BINARY_FOR_GPU",
        Call,
        "the image holds no code for this GPU: build with a target that it runs",
    ),
    row(
        214,
        "CUDA_ERROR_ECC_UNCORRECTABLE",
        Context,
        "the GPU's memory failed: see nvidia-smi -q -d ECC; reset the GPU",
    ),
    row(
        217,
        "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
        Call,
        "the two GPUs cannot reach each other's memory",
    ),
    row(218, "CUDA_ERROR_INVALID_PTX", Call, "the PTX does not assemble; the log says where"),
    row(
        220,
        "CUDA_ERROR_NVLINK_UNCORRECTABLE",
        Context,
        "a link between GPUs failed: see nvidia-smi nvlink",
    ),
    row(
        221,
        "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
        Call,
        "libnvidia-ptxjitcompiler.so is missing: it belongs to the driver's packages",
    ),
    row(
        222,
        "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
        Call,
        "the PTX is newer than the driver: update the driver or build for an older PTX version",
    ),
    row(
        223,
        "CUDA_ERROR_JIT_COMPILATION_DISABLED",
        Call,
        "CUDA_DISABLE_PTX_JIT forbids compiling PTX: unset it",
    ),
    row(
        224,
        "CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY",
        Call,
        "the device does not support this affinity",
    ),
    row(300, "CUDA_ERROR_INVALID_SOURCE", Call, "the kernel source is invalid"),
    row(301, "CUDA_ERROR_FILE_NOT_FOUND", Call, "a file was not found"),
    row(
        302,
        "CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND",
        Call,
        "a library that the driver needs lacks a symbol: its packages are of different versions",
    ),
    row(
        303,
        "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED",
        Call,
        "a library that the driver needs did not start",
    ),
    row(
        304,
        "CUDA_ERROR_OPERATING_SYSTEM",
        Call,
        "the operating system refused a call of the driver: check permissions of /dev/nvidia*",
    ),
    row(
        400,
        "CUDA_ERROR_INVALID_HANDLE",
        Call,
        "the object was destroyed or belongs to another context",
    ),
    row(401, "CUDA_ERROR_ILLEGAL_STATE", Call, "the object is not in a state that allows this"),
    row(500, "CUDA_ERROR_NOT_FOUND", Call, "the module holds no such symbol"),
    row(600, "CUDA_ERROR_NOT_READY", Call, "the work has not finished"),
    row(
        700,
        "CUDA_ERROR_ILLEGAL_ADDRESS",
        Context,
        "a kernel touched memory outside every allocation: look in its unsafe code, or run it on the CPU device",
    ),
    row(
        701,
        "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
        Call,
        "the block needs more registers or shared memory than the device has: use a smaller block",
    ),
    row(
        702,
        "CUDA_ERROR_LAUNCH_TIMEOUT",
        Context,
        "the kernel ran longer than the display watchdog allows",
    ),
    row(
        703,
        "CUDA_ERROR_LAUNCH_INCOMPATIBLE_TEXTURING",
        Call,
        "the kernel uses an incompatible texturing mode",
    ),
    row(708, "CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE", Call, "the primary context was created already"),
    row(
        709,
        "CUDA_ERROR_CONTEXT_IS_DESTROYED",
        Context,
        "the context was destroyed or reset by someone else in this process",
    ),
    row(710, "CUDA_ERROR_ASSERT", Context, "a device-side assert of a foreign kernel failed"),
    row(
        714,
        "CUDA_ERROR_HARDWARE_STACK_ERROR",
        Context,
        "a kernel overran its stack: bound its recursion",
    ),
    row(
        715,
        "CUDA_ERROR_ILLEGAL_INSTRUCTION",
        Context,
        "a kernel ran an instruction that the device does not have, or a trap",
    ),
    row(
        716,
        "CUDA_ERROR_MISALIGNED_ADDRESS",
        Context,
        "a kernel made an access that is not aligned to its size: look in its unsafe code",
    ),
    row(
        717,
        "CUDA_ERROR_INVALID_ADDRESS_SPACE",
        Context,
        "a kernel used a pointer in the wrong memory space",
    ),
    row(718, "CUDA_ERROR_INVALID_PC", Context, "a kernel jumped to a place that holds no code"),
    row(
        719,
        "CUDA_ERROR_LAUNCH_FAILED",
        Context,
        "a kernel failed on the device: look in its unsafe code, or run it on the CPU device",
    ),
    row(
        720,
        "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        Call,
        "the grid does not fit on the device at once",
    ),
    row(721, "CUDA_ERROR_TENSOR_MEMORY_LEAK", Context, "a kernel left tensor memory allocated"),
    row(800, "CUDA_ERROR_NOT_PERMITTED", Call, "the operation is not permitted here"),
    row(801, "CUDA_ERROR_NOT_SUPPORTED", Call, "the device or driver does not support this"),
    row(
        802,
        "CUDA_ERROR_SYSTEM_NOT_READY",
        Process,
        "the driver's services are not running: on NVSwitch machines start nvidia-fabricmanager",
    ),
    row(
        803,
        "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        Process,
        "the kernel module and libcuda are of different versions: reboot or reload the module after an update",
    ),
    row(
        804,
        "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        Process,
        "the forward-compatibility libcuda does not support this GPU: use the driver's own",
    ),
    row(805, "CUDA_ERROR_MPS_CONNECTION_FAILED", Process, "the MPS server does not answer"),
    row(
        900,
        "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
        Call,
        "the call is not allowed while a stream is being captured",
    ),
    row(901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", Call, "an earlier error ended the capture"),
    row(
        906,
        "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT",
        Call,
        "the default stream may not be used while a stream is being captured",
    ),
    row(
        908,
        "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
        Call,
        "the capture was begun by another thread",
    ),
    row(909, "CUDA_ERROR_TIMEOUT", Call, "a wait ran past its limit"),
    row(
        910,
        "CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE",
        Call,
        "the changed graph has another shape than the instantiated one",
    ),
    row(912, "CUDA_ERROR_INVALID_CLUSTER_SIZE", Call, "no cluster of this size fits on the device"),
    row(
        999,
        "CUDA_ERROR_UNKNOWN",
        Process,
        "the driver reports no reason: see the kernel log (dmesg, Xid lines)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_unique() {
        assert!(ROWS.windows(2).all(|pair| pair[0].code < pair[1].code));
    }

    #[test]
    fn faults_of_kernels_lose_the_context() {
        for code in [700, 714, 715, 716, 717, 718, 719] {
            assert_eq!(Status(code).severity(), Severity::Context, "{}", Status(code).name());
        }
        assert_eq!(Status::OUT_OF_MEMORY.severity(), Severity::Call);
        assert_eq!(Status(123_456).severity(), Severity::Call);
    }
}
