//! The driver's C types and the table of functions this crate calls.
//!
//! Invariant: a field's signature is the one that `cuda.h` gives for the symbol at
//! the version in its row; the row is the only place where a symbol is named.
//! Rows under `optional` may be missing from older drivers and are `Option`s, so
//! that their absence is a value and not a crash.

use std::ffi::{c_char, c_int, c_uint, c_void};

pub(crate) type CuResult = u32;
pub(crate) type CuDevice = c_int;
pub(crate) type CuContext = *mut c_void;
pub(crate) type CuStream = *mut c_void;
pub(crate) type CuEvent = *mut c_void;
pub(crate) type CuModule = *mut c_void;
pub(crate) type CuFunction = *mut c_void;
pub(crate) type CuLinkState = *mut c_void;
pub(crate) type CuMemPool = *mut c_void;
pub(crate) type CuGraph = *mut c_void;
pub(crate) type CuGraphExec = *mut c_void;
pub(crate) type CuGraphNode = *mut c_void;
pub(crate) type CuDevicePtr = u64;
pub(crate) type CuMemHandle = u64;

/// `cuLaunchKernel`.
pub(crate) type LaunchKernel = unsafe extern "system" fn(
    CuFunction,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    CuStream,
    *mut *mut c_void,
    *mut *mut c_void,
) -> CuResult;

/// `cuGraphLaunch`.
pub(crate) type GraphLaunch = unsafe extern "system" fn(CuGraphExec, CuStream) -> CuResult;

/// `CUuuid`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct CuUuid {
    pub(crate) bytes: [u8; 16],
}

/// `CUlaunchAttribute`: an id and a 64-byte value.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct CuLaunchAttribute {
    pub(crate) id: u32,
    pub(crate) pad: u32,
    pub(crate) value: [u32; 16],
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct CuLaunchConfig {
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared_bytes: c_uint,
    pub(crate) stream: CuStream,
    pub(crate) attributes: *mut CuLaunchAttribute,
    pub(crate) attributes_len: c_uint,
}

/// `CUDA_KERNEL_NODE_PARAMS_v2`.
#[repr(C)]
pub(crate) struct CuKernelNodeParams {
    pub(crate) function: CuFunction,
    pub(crate) grid: [c_uint; 3],
    pub(crate) block: [c_uint; 3],
    pub(crate) shared_bytes: c_uint,
    pub(crate) params: *mut *mut c_void,
    pub(crate) extra: *mut *mut c_void,
    pub(crate) kernel: *mut c_void,
    pub(crate) context: CuContext,
}

/// `CUmemLocation`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct CuMemLocation {
    pub(crate) kind: u32,
    pub(crate) id: c_int,
}

/// `CUmemPoolProps`.
#[repr(C)]
pub(crate) struct CuMemPoolProps {
    pub(crate) allocation: u32,
    pub(crate) handles: u32,
    pub(crate) location: CuMemLocation,
    pub(crate) security_attributes: *mut c_void,
    pub(crate) bytes_max: usize,
    pub(crate) usage: u16,
    pub(crate) reserved: [u8; 54],
}

/// `CUmemAllocationProp`; the last eight bytes are its `allocFlags`.
#[repr(C)]
pub(crate) struct CuMemAllocationProp {
    pub(crate) kind: u32,
    pub(crate) handles: u32,
    pub(crate) location: CuMemLocation,
    pub(crate) win32_handle_metadata: *mut c_void,
    pub(crate) flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[repr(C)]
pub(crate) struct CuMemAccessDesc {
    pub(crate) location: CuMemLocation,
    pub(crate) flags: u32,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
pub(crate) struct CuMemcpy2d {
    pub(crate) source_x_bytes: usize,
    pub(crate) source_y: usize,
    pub(crate) source_kind: u32,
    pub(crate) source_host: *const c_void,
    pub(crate) source_device: CuDevicePtr,
    pub(crate) source_array: *mut c_void,
    pub(crate) source_pitch_bytes: usize,
    pub(crate) target_x_bytes: usize,
    pub(crate) target_y: usize,
    pub(crate) target_kind: u32,
    pub(crate) target_host: *mut c_void,
    pub(crate) target_device: CuDevicePtr,
    pub(crate) target_array: *mut c_void,
    pub(crate) target_pitch_bytes: usize,
    pub(crate) width_bytes: usize,
    pub(crate) height: usize,
}

/// `CUtensorMap`: opaque, 128 bytes, aligned as the copy engine demands.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(crate) struct CuTensorMap {
    pub(crate) opaque: [u64; 16],
}

pub(crate) const SUCCESS: CuResult = 0;
pub(crate) const ERROR_NOT_READY: CuResult = 600;

pub(crate) const CAPTURE_RELAXED: c_uint = 2;
pub(crate) const CAPTURE_ACTIVE: u32 = 1;
pub(crate) const STREAM_NON_BLOCKING: c_uint = 1;
pub(crate) const EVENT_BLOCKING_SYNC: c_uint = 1;
pub(crate) const EVENT_DISABLE_TIMING: c_uint = 2;
pub(crate) const MEM_HOST_PORTABLE: c_uint = 1;
pub(crate) const MEM_HOST_DEVICE_MAP: c_uint = 2;
pub(crate) const MEM_ALLOCATION_PINNED: u32 = 1;
pub(crate) const MEM_LOCATION_DEVICE: u32 = 1;
pub(crate) const MEM_POOL_RELEASE_THRESHOLD: u32 = 4;
pub(crate) const MEM_ACCESS_READ_WRITE: u32 = 3;
pub(crate) const MEM_GRANULARITY_MINIMUM: u32 = 0;
pub(crate) const MEM_ATTACH_GLOBAL: c_uint = 1;
pub(crate) const MEMORY_TYPE_DEVICE: u32 = 2;

pub(crate) const JIT_INFO_LOG: u32 = 3;
pub(crate) const JIT_INFO_LOG_BYTES: u32 = 4;
pub(crate) const JIT_ERROR_LOG: u32 = 5;
pub(crate) const JIT_ERROR_LOG_BYTES: u32 = 6;
pub(crate) const JIT_LINE_INFO: u32 = 13;
pub(crate) const JIT_INPUT_PTX: u32 = 1;

pub(crate) const LAUNCH_ATTRIBUTE_CLUSTER: u32 = 4;
pub(crate) const LAUNCH_ATTRIBUTE_PROGRAMMATIC_SERIALIZATION: u32 = 6;

/// Expands the table into [`Api`] and its loader. A row reads
/// `field: "symbol for cuGetProcAddress", "exported name", version, (arguments);`.
macro_rules! driver_functions {
    (
        required { $($field:ident: $symbol:literal, $export:literal, $version:literal, ($($arg:ty),*);)* }
        optional { $($ofield:ident: $osymbol:literal, $oexport:literal, $oversion:literal, ($($oarg:ty),*);)* }
    ) => {
        /// The driver's functions, resolved once for the process.
        pub(crate) struct Api {
            $(pub(crate) $field: unsafe extern "system" fn($($arg),*) -> CuResult,)*
            $(pub(crate) $ofield: Option<unsafe extern "system" fn($($oarg),*) -> CuResult>,)*
        }

        impl Api {
            /// Resolves every row with `resolve(symbol, exported name, version)`.
            ///
            /// # Errors
            ///
            /// The name of the first required function that is missing.
            pub(crate) fn resolve(
                resolve: &dyn Fn(&'static str, &'static str, c_int) -> *mut c_void,
            ) -> Result<Self, &'static str> {
                Ok(Self {
                    $($field: {
                        let address = resolve($symbol, $export, $version);
                        if address.is_null() {
                            return Err($export);
                        }
                        // SAFETY: the driver gave this address for the symbol and
                        // version whose C signature the row repeats.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "system" fn($($arg),*) -> CuResult>(address)
                        }
                    },)*
                    $($ofield: {
                        let address = resolve($osymbol, $oexport, $oversion);
                        // SAFETY: as above; a null address is `None`, whose
                        // representation it is.
                        unsafe {
                            std::mem::transmute::<*mut c_void, Option<unsafe extern "system" fn($($oarg),*) -> CuResult>>(address)
                        }
                    },)*
                })
            }
        }
    };
}

driver_functions! {
    required {
        init: "cuInit", "cuInit", 2000, (c_uint);
        driver_get_version: "cuDriverGetVersion", "cuDriverGetVersion", 2020, (*mut c_int);
        device_get: "cuDeviceGet", "cuDeviceGet", 2000, (*mut CuDevice, c_int);
        device_get_count: "cuDeviceGetCount", "cuDeviceGetCount", 2000, (*mut c_int);
        device_get_name: "cuDeviceGetName", "cuDeviceGetName", 2000, (*mut c_char, c_int, CuDevice);
        device_get_uuid: "cuDeviceGetUuid", "cuDeviceGetUuid_v2", 11040, (*mut CuUuid, CuDevice);
        device_total_mem: "cuDeviceTotalMem", "cuDeviceTotalMem_v2", 3020, (*mut usize, CuDevice);
        device_get_attribute: "cuDeviceGetAttribute", "cuDeviceGetAttribute", 2000, (*mut c_int, u32, CuDevice);
        primary_ctx_retain: "cuDevicePrimaryCtxRetain", "cuDevicePrimaryCtxRetain", 7000, (*mut CuContext, CuDevice);
        primary_ctx_release: "cuDevicePrimaryCtxRelease", "cuDevicePrimaryCtxRelease_v2", 11000, (CuDevice);
        ctx_set_current: "cuCtxSetCurrent", "cuCtxSetCurrent", 4000, (CuContext);
        ctx_synchronize: "cuCtxSynchronize", "cuCtxSynchronize", 2000, ();
        ctx_get_limit: "cuCtxGetLimit", "cuCtxGetLimit", 3010, (*mut usize, u32);
        ctx_set_limit: "cuCtxSetLimit", "cuCtxSetLimit", 3010, (u32, usize);
        mem_get_info: "cuMemGetInfo", "cuMemGetInfo_v2", 3020, (*mut usize, *mut usize);
        mem_alloc: "cuMemAlloc", "cuMemAlloc_v2", 3020, (*mut CuDevicePtr, usize);
        mem_free: "cuMemFree", "cuMemFree_v2", 3020, (CuDevicePtr);
        mem_host_alloc: "cuMemHostAlloc", "cuMemHostAlloc", 2020, (*mut *mut c_void, usize, c_uint);
        mem_free_host: "cuMemFreeHost", "cuMemFreeHost", 2000, (*mut c_void);
        mem_host_get_device_pointer: "cuMemHostGetDevicePointer", "cuMemHostGetDevicePointer_v2", 3020, (*mut CuDevicePtr, *mut c_void, c_uint);
        memcpy_host_to_device: "cuMemcpyHtoDAsync", "cuMemcpyHtoDAsync_v2", 3020, (CuDevicePtr, *const c_void, usize, CuStream);
        memcpy_device_to_host: "cuMemcpyDtoHAsync", "cuMemcpyDtoHAsync_v2", 3020, (*mut c_void, CuDevicePtr, usize, CuStream);
        memcpy_device_to_device: "cuMemcpyDtoDAsync", "cuMemcpyDtoDAsync_v2", 3020, (CuDevicePtr, CuDevicePtr, usize, CuStream);
        memset_d8: "cuMemsetD8Async", "cuMemsetD8Async", 3020, (CuDevicePtr, u8, usize, CuStream);
        memset_d16: "cuMemsetD16Async", "cuMemsetD16Async", 3020, (CuDevicePtr, u16, usize, CuStream);
        memset_d32: "cuMemsetD32Async", "cuMemsetD32Async", 3020, (CuDevicePtr, c_uint, usize, CuStream);
        stream_create: "cuStreamCreateWithPriority", "cuStreamCreateWithPriority", 5050, (*mut CuStream, c_uint, c_int);
        stream_destroy: "cuStreamDestroy", "cuStreamDestroy_v2", 4000, (CuStream);
        stream_synchronize: "cuStreamSynchronize", "cuStreamSynchronize", 2000, (CuStream);
        stream_query: "cuStreamQuery", "cuStreamQuery", 2000, (CuStream);
        stream_wait_event: "cuStreamWaitEvent", "cuStreamWaitEvent", 3020, (CuStream, CuEvent, c_uint);
        stream_priority_range: "cuCtxGetStreamPriorityRange", "cuCtxGetStreamPriorityRange", 5050, (*mut c_int, *mut c_int);
        event_create: "cuEventCreate", "cuEventCreate", 2000, (*mut CuEvent, c_uint);
        event_destroy: "cuEventDestroy", "cuEventDestroy_v2", 4000, (CuEvent);
        event_record: "cuEventRecord", "cuEventRecord", 2000, (CuEvent, CuStream);
        event_query: "cuEventQuery", "cuEventQuery", 2000, (CuEvent);
        event_synchronize: "cuEventSynchronize", "cuEventSynchronize", 2000, (CuEvent);
        event_elapsed: "cuEventElapsedTime", "cuEventElapsedTime", 2000, (*mut f32, CuEvent, CuEvent);
        module_load_data_ex: "cuModuleLoadDataEx", "cuModuleLoadDataEx", 2010, (*mut CuModule, *const c_void, c_uint, *mut u32, *mut *mut c_void);
        module_unload: "cuModuleUnload", "cuModuleUnload", 2000, (CuModule);
        module_get_function: "cuModuleGetFunction", "cuModuleGetFunction", 2000, (*mut CuFunction, CuModule, *const c_char);
        module_get_global: "cuModuleGetGlobal", "cuModuleGetGlobal_v2", 3020, (*mut CuDevicePtr, *mut usize, CuModule, *const c_char);
        func_get_attribute: "cuFuncGetAttribute", "cuFuncGetAttribute", 2020, (*mut c_int, u32, CuFunction);
        func_set_attribute: "cuFuncSetAttribute", "cuFuncSetAttribute", 9000, (CuFunction, u32, c_int);
        occupancy_max_active_blocks: "cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuOccupancyMaxActiveBlocksPerMultiprocessor", 6050, (*mut c_int, CuFunction, c_int, usize);
        launch_kernel: "cuLaunchKernel", "cuLaunchKernel", 4000, (CuFunction, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, CuStream, *mut *mut c_void, *mut *mut c_void);
        link_create: "cuLinkCreate", "cuLinkCreate_v2", 6050, (c_uint, *mut u32, *mut *mut c_void, *mut CuLinkState);
        link_add_data: "cuLinkAddData", "cuLinkAddData_v2", 6050, (CuLinkState, u32, *mut c_void, usize, *const c_char, c_uint, *mut u32, *mut *mut c_void);
        link_complete: "cuLinkComplete", "cuLinkComplete", 5050, (CuLinkState, *mut *mut c_void, *mut usize);
        link_destroy: "cuLinkDestroy", "cuLinkDestroy", 5050, (CuLinkState);
    }
    optional {
        mem_pool_create: "cuMemPoolCreate", "cuMemPoolCreate", 11020, (*mut CuMemPool, *const CuMemPoolProps);
        mem_pool_destroy: "cuMemPoolDestroy", "cuMemPoolDestroy", 11020, (CuMemPool);
        mem_pool_set_attribute: "cuMemPoolSetAttribute", "cuMemPoolSetAttribute", 11020, (CuMemPool, u32, *mut c_void);
        mem_pool_get_attribute: "cuMemPoolGetAttribute", "cuMemPoolGetAttribute", 11020, (CuMemPool, u32, *mut c_void);
        mem_pool_trim: "cuMemPoolTrimTo", "cuMemPoolTrimTo", 11020, (CuMemPool, usize);
        mem_alloc_from_pool: "cuMemAllocFromPoolAsync", "cuMemAllocFromPoolAsync", 11020, (*mut CuDevicePtr, usize, CuMemPool, CuStream);
        mem_free_async: "cuMemFreeAsync", "cuMemFreeAsync", 11020, (CuDevicePtr, CuStream);
        mem_address_reserve: "cuMemAddressReserve", "cuMemAddressReserve", 10020, (*mut CuDevicePtr, usize, usize, CuDevicePtr, u64);
        mem_address_free: "cuMemAddressFree", "cuMemAddressFree", 10020, (CuDevicePtr, usize);
        mem_get_allocation_granularity: "cuMemGetAllocationGranularity", "cuMemGetAllocationGranularity", 10020, (*mut usize, *const CuMemAllocationProp, u32);
        mem_create: "cuMemCreate", "cuMemCreate", 10020, (*mut CuMemHandle, usize, *const CuMemAllocationProp, u64);
        mem_release: "cuMemRelease", "cuMemRelease", 10020, (CuMemHandle);
        mem_map: "cuMemMap", "cuMemMap", 10020, (CuDevicePtr, usize, usize, CuMemHandle, u64);
        mem_unmap: "cuMemUnmap", "cuMemUnmap", 10020, (CuDevicePtr, usize);
        mem_set_access: "cuMemSetAccess", "cuMemSetAccess", 10020, (CuDevicePtr, usize, *const CuMemAccessDesc, usize);
        mem_alloc_managed: "cuMemAllocManaged", "cuMemAllocManaged", 6000, (*mut CuDevicePtr, usize, c_uint);
        mem_advise: "cuMemAdvise", "cuMemAdvise", 8000, (CuDevicePtr, usize, u32, CuDevice);
        mem_prefetch: "cuMemPrefetchAsync", "cuMemPrefetchAsync", 8000, (CuDevicePtr, usize, CuDevice, CuStream);
        memcpy_2d: "cuMemcpy2DAsync", "cuMemcpy2DAsync_v2", 3020, (*const CuMemcpy2d, CuStream);
        memcpy_peer: "cuMemcpyPeerAsync", "cuMemcpyPeerAsync", 4000, (CuDevicePtr, CuContext, CuDevicePtr, CuContext, usize, CuStream);
        device_can_access_peer: "cuDeviceCanAccessPeer", "cuDeviceCanAccessPeer", 4000, (*mut c_int, CuDevice, CuDevice);
        ctx_enable_peer_access: "cuCtxEnablePeerAccess", "cuCtxEnablePeerAccess", 4000, (CuContext, c_uint);
        ctx_disable_peer_access: "cuCtxDisablePeerAccess", "cuCtxDisablePeerAccess", 4000, (CuContext);
        launch_kernel_ex: "cuLaunchKernelEx", "cuLaunchKernelEx", 11060, (*const CuLaunchConfig, CuFunction, *mut *mut c_void, *mut *mut c_void);
        tensor_map_encode_tiled: "cuTensorMapEncodeTiled", "cuTensorMapEncodeTiled", 12000, (*mut CuTensorMap, u32, u32, *mut c_void, *const u64, *const u64, *const u32, *const u32, u32, u32, u32, u32);
        tensor_map_encode_im2col: "cuTensorMapEncodeIm2col", "cuTensorMapEncodeIm2col", 12000, (*mut CuTensorMap, u32, u32, *mut c_void, *const u64, *const u64, *const c_int, *const c_int, u32, u32, *const u32, u32, u32, u32, u32);
        primary_ctx_reset: "cuDevicePrimaryCtxReset", "cuDevicePrimaryCtxReset_v2", 11000, (CuDevice);
        stream_write_value64: "cuStreamWriteValue64", "cuStreamWriteValue64_v2", 11070, (CuStream, CuDevicePtr, u64, c_uint);
        stream_begin_capture: "cuStreamBeginCapture", "cuStreamBeginCapture_v2", 10010, (CuStream, c_uint);
        stream_end_capture: "cuStreamEndCapture", "cuStreamEndCapture", 10000, (CuStream, *mut CuGraph);
        stream_capture_info: "cuStreamGetCaptureInfo", "cuStreamGetCaptureInfo_v2", 11030, (CuStream, *mut u32, *mut u64, *mut CuGraph, *mut *const CuGraphNode, *mut usize);
        graph_destroy: "cuGraphDestroy", "cuGraphDestroy", 10000, (CuGraph);
        graph_get_nodes: "cuGraphGetNodes", "cuGraphGetNodes", 10000, (CuGraph, *mut CuGraphNode, *mut usize);
        graph_instantiate: "cuGraphInstantiateWithFlags", "cuGraphInstantiateWithFlags", 11040, (*mut CuGraphExec, CuGraph, u64);
        graph_exec_destroy: "cuGraphExecDestroy", "cuGraphExecDestroy", 10000, (CuGraphExec);
        graph_exec_update: "cuGraphExecUpdate", "cuGraphExecUpdate", 10020, (CuGraphExec, CuGraph, *mut CuGraphNode, *mut u32);
        graph_exec_set_kernel: "cuGraphExecKernelNodeSetParams", "cuGraphExecKernelNodeSetParams_v2", 12000, (CuGraphExec, CuGraphNode, *const CuKernelNodeParams);
        graph_upload: "cuGraphUpload", "cuGraphUpload", 11010, (CuGraphExec, CuStream);
        graph_launch: "cuGraphLaunch", "cuGraphLaunch", 10000, (CuGraphExec, CuStream);
        func_get_param_info: "cuFuncGetParamInfo", "cuFuncGetParamInfo", 12040, (CuFunction, usize, *mut usize, *mut usize);
    }
}
