//! The functions under their names, and the exported symbols.
//!
//! Only `cuGetProcAddress_v2` is exported of CUDA's functions: the others are
//! found through it, so that a function can be hidden.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use crate::api::{device, event, memory, module, pool, stream, virtual_memory};
use crate::calls::{Effect, Function, gate};
use crate::control::{Describe, Run};
use crate::forward;
use crate::graphs;
use crate::handles::{Handle, In, NOT_FOUND, Out, Text};

/// A function and where it is.
struct Row {
    function: &'static Function,
    address: usize,
}

/// Expands rows `"name" since effect (argument: type, …) => function;`.
macro_rules! rows {
    ($($name:literal $since:literal $effect:ident ($($arg:ident: $type:ty),*) => $call:path;)*) => {
        vec![$({
            static FUNCTION: Function = Function::new($name, $since, Effect::$effect);
            unsafe extern "system" fn entry($($arg: $type),*) -> u32 {
                let real = FUNCTION.real.load(Ordering::Acquire);
                if real != 0 {
                    // SAFETY: another driver's function of the same name and version.
                    let real = unsafe {
                        std::mem::transmute::<usize, unsafe extern "system" fn($($type),*) -> u32>(real)
                    };
                    // SAFETY: the caller's contract is that of the function.
                    return forward::gate(&FUNCTION, || unsafe { real($($arg),*) });
                }
                gate(&FUNCTION, |world| $call(world, $($arg),*))
            }
            let entry: unsafe extern "system" fn($($type),*) -> u32 = entry;
            Row { function: &FUNCTION, address: entry as usize }
        }),*]
    };
}

type HostFn = Option<unsafe extern "C" fn(*mut c_void)>;

#[rustfmt::skip]
fn device_rows() -> Vec<Row> {
    rows! {
        "cuInit" 0 Before (flags: u32) => device::init;
        "cuDriverGetVersion" 0 Before (version: Out<i32>) => device::version;
        "cuDeviceGet" 0 Before (device: Out<i32>, ordinal: i32) => device::get;
        "cuDeviceGetCount" 0 Before (count: Out<i32>) => device::get_count;
        "cuDeviceGetName" 0 Before (name: Out<u8>, len: i32, device: i32) => device::get_name;
        "cuDeviceGetUuid" 0 Before (uuid: Out<[u8; 16]>, device: i32) => device::get_uuid;
        "cuDeviceTotalMem" 0 Before (bytes: Out<usize>, device: i32) => device::total_memory;
        "cuDeviceGetAttribute" 0 Before (value: Out<i32>, attribute: u32, device: i32) => device::attribute;
        "cuDevicePrimaryCtxRetain" 0 Before (context: Out<Handle>, device: i32) => device::retain;
        "cuDevicePrimaryCtxRelease" 0 After (device: i32) => device::release;
        "cuDevicePrimaryCtxReset" 0 Before (device: i32) => device::reset;
        "cuDevicePrimaryCtxGetState" 0 Before (device: i32, flags: Out<u32>, active: Out<i32>) => device::state;
        "cuCtxSetCurrent" 0 Before (context: Handle) => device::set_current;
        "cuCtxGetCurrent" 0 Before (context: Out<Handle>) => device::get_current;
        "cuCtxGetId" 0 Before (context: Handle, id: Out<u64>) => device::context_id;
        "cuCtxGetDevice" 0 Before (device: Out<i32>) => device::context_device;
        "cuCtxSynchronize" 0 After () => device::synchronize;
        "cuCtxGetLimit" 0 Before (value: Out<usize>, limit: u32) => device::get_limit;
        "cuCtxSetLimit" 0 Before (limit: u32, value: usize) => device::set_limit;
        "cuCtxGetStreamPriorityRange" 0 Before (least: Out<i32>, greatest: Out<i32>) => stream::priority_range;
        "cuCtxEnablePeerAccess" 0 Before (peer: Handle, flags: u32) => device::enable_peer;
        "cuCtxDisablePeerAccess" 0 After (peer: Handle) => device::disable_peer;
        "cuDeviceCanAccessPeer" 0 Before (value: Out<i32>, device: i32, peer: i32) => device::can_access_peer;
        "cuDeviceGetP2PAttribute" 0 Before (value: Out<i32>, attribute: u32, device: i32, peer: i32) => device::peer_attribute;
        "cuTensorMapEncodeTiled" 0 Before (map: Out<[u64; 16]>, element: u32, rank: u32, address: u64, sizes: In<u64>, strides: In<u64>, boxes: In<u32>, steps: In<u32>, interleave: u32, swizzle: u32, promotion: u32, fill: u32) => device::encode_tensor_map;
        "cuTensorMapEncodeIm2col" 0 Before (map: Out<[u64; 16]>, element: u32, rank: u32, address: u64, sizes: In<u64>, strides: In<u64>, lower: In<i32>, upper: In<i32>, channels: u32, pixels: u32, steps: In<u32>, interleave: u32, swizzle: u32, promotion: u32, fill: u32) => device::encode_im2col_map;
    }
}

#[rustfmt::skip]
fn memory_rows() -> Vec<Row> {
    rows! {
        "cuMemGetInfo" 0 Before (free: Out<usize>, total: Out<usize>) => memory::info;
        "cuMemAlloc" 0 Before (address: Out<u64>, bytes: usize) => memory::allocate;
        "cuMemAllocManaged" 0 Before (address: Out<u64>, bytes: usize, flags: u32) => memory::allocate_managed;
        "cuMemFree" 0 After (address: u64) => memory::free;
        "cuMemHostAlloc" 0 Before (pointer: Out<u64>, bytes: usize, flags: u32) => memory::host_allocate;
        "cuMemFreeHost" 0 After (pointer: *mut u8) => memory::host_free;
        "cuMemHostRegister" 0 Before (pointer: *mut u8, bytes: usize, flags: u32) => memory::host_register;
        "cuMemHostUnregister" 0 After (pointer: *mut u8) => memory::host_unregister;
        "cuMemHostGetDevicePointer" 0 Before (address: Out<u64>, pointer: *mut u8, flags: u32) => memory::host_device_pointer;
        "cuMemAdvise" 0 Before (address: u64, bytes: usize, advice: u32, device: i32) => memory::advise;
        "cuMemAdvise" 12020 Before (address: u64, bytes: usize, advice: u32, location: u64) => memory::advise_at;
        "cuMemPrefetchAsync" 0 Before (address: u64, bytes: usize, device: i32, stream: Handle) => memory::prefetch;
        "cuMemPrefetchAsync" 12020 Before (address: u64, bytes: usize, location: u64, flags: u32, stream: Handle) => memory::prefetch_at;
        "cuPointerGetAttribute" 0 Before (value: *mut u8, attribute: u32, address: u64) => memory::pointer_attribute;
        "cuMemPoolCreate" 0 Before (pool: Out<Handle>, properties: In<pool::Properties>) => pool::create;
        "cuMemPoolDestroy" 0 After (pool: Handle) => pool::destroy;
        "cuMemPoolSetAttribute" 0 Before (pool: Handle, attribute: u32, value: In<u64>) => pool::set_attribute;
        "cuMemPoolGetAttribute" 0 Before (pool: Handle, attribute: u32, value: Out<u64>) => pool::get_attribute;
        "cuMemPoolTrimTo" 0 Before (pool: Handle, keep: usize) => pool::trim;
        "cuMemPoolSetAccess" 0 Before (pool: Handle, access: u64, len: usize) => pool::set_access;
        "cuMemAllocFromPoolAsync" 0 Before (address: Out<u64>, bytes: usize, pool: Handle, stream: Handle) => pool::allocate;
        "cuMemFreeAsync" 0 After (address: u64, stream: Handle) => pool::free;
        "cuMemGetAllocationGranularity" 0 Before (bytes: Out<usize>, properties: In<virtual_memory::Properties>, option: u32) => virtual_memory::granularity;
        "cuMemAddressReserve" 0 Before (address: Out<u64>, bytes: usize, align: usize, wanted: u64, flags: u64) => virtual_memory::reserve;
        "cuMemAddressFree" 0 After (address: u64, bytes: usize) => virtual_memory::unreserve;
        "cuMemCreate" 0 Before (physical: Out<Handle>, bytes: usize, properties: In<virtual_memory::Properties>, flags: u64) => virtual_memory::create;
        "cuMemRelease" 0 After (physical: Handle) => virtual_memory::release;
        "cuMemMap" 0 Before (address: u64, bytes: usize, offset: usize, physical: Handle, flags: u64) => virtual_memory::map;
        "cuMemUnmap" 0 After (address: u64, bytes: usize) => virtual_memory::unmap;
        "cuMemSetAccess" 0 Before (address: u64, bytes: usize, access: In<virtual_memory::Access>, len: usize) => virtual_memory::set_access;
    }
}

#[rustfmt::skip]
fn stream_rows() -> Vec<Row> {
    rows! {
        "cuStreamCreateWithPriority" 0 Before (stream: Out<Handle>, flags: u32, priority: i32) => stream::create;
        "cuStreamDestroy" 0 After (stream: Handle) => stream::destroy;
        "cuStreamSynchronize" 0 After (stream: Handle) => stream::synchronize;
        "cuStreamQuery" 0 Before (stream: Handle) => stream::query;
        "cuStreamGetId" 0 Before (stream: Handle, id: Out<u64>) => stream::id;
        "cuStreamGetPriority" 0 Before (stream: Handle, priority: Out<i32>) => stream::priority;
        "cuStreamWaitEvent" 0 Before (stream: Handle, event: Handle, flags: u32) => event::wait;
        "cuStreamWriteValue32" 0 Before (stream: Handle, address: u64, value: u32, flags: u32) => stream::write_u32;
        "cuStreamWriteValue64" 0 Before (stream: Handle, address: u64, value: u64, flags: u32) => stream::write_u64;
        "cuStreamWaitValue32" 0 Before (stream: Handle, address: u64, value: u32, flags: u32) => stream::wait_u32;
        "cuStreamWaitValue64" 0 Before (stream: Handle, address: u64, value: u64, flags: u32) => stream::wait_u64;
        "cuLaunchHostFunc" 0 Before (stream: Handle, function: HostFn, data: *mut c_void) => stream::host_function;
        "cuMemcpyHtoDAsync" 0 Before (to: u64, from: *const u8, bytes: usize, stream: Handle) => stream::copy_to_device;
        "cuMemcpyDtoHAsync" 0 Before (to: *mut u8, from: u64, bytes: usize, stream: Handle) => stream::copy_to_host;
        "cuMemcpyDtoDAsync" 0 Before (to: u64, from: u64, bytes: usize, stream: Handle) => stream::copy;
        "cuMemcpyAsync" 0 Before (to: u64, from: u64, bytes: usize, stream: Handle) => stream::copy;
        "cuMemcpyPeerAsync" 0 Before (to: u64, to_context: Handle, from: u64, from_context: Handle, bytes: usize, stream: Handle) => stream::copy_peer;
        "cuMemcpy2DAsync" 0 Before (rows: In<stream::Rows>, stream: Handle) => stream::copy_rows;
        "cuMemsetD8Async" 0 Before (to: u64, value: u8, len: usize, stream: Handle) => stream::fill_u8;
        "cuMemsetD16Async" 0 Before (to: u64, value: u16, len: usize, stream: Handle) => stream::fill_u16;
        "cuMemsetD32Async" 0 Before (to: u64, value: u32, len: usize, stream: Handle) => stream::fill_u32;
        "cuEventCreate" 0 Before (event: Out<Handle>, flags: u32) => event::create;
        "cuEventDestroy" 0 After (event: Handle) => event::destroy;
        "cuEventRecord" 0 Before (event: Handle, stream: Handle) => event::record;
        "cuEventQuery" 0 Before (event: Handle) => event::query;
        "cuEventSynchronize" 0 After (event: Handle) => event::synchronize;
        "cuEventElapsedTime" 0 Before (milliseconds: Out<f32>, start: Handle, end: Handle) => event::elapsed;
        "cuLaunchKernel" 0 Before (function: Handle, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: u32, stream: Handle, params: In<In<u8>>, extra: usize) => stream::launch;
        "cuLaunchKernelEx" 0 Before (config: In<stream::LaunchConfig>, function: Handle, params: In<In<u8>>, extra: usize) => stream::launch_ex;
    }
}

#[rustfmt::skip]
fn module_rows() -> Vec<Row> {
    rows! {
        "cuModuleLoadDataEx" 0 Before (module: Out<Handle>, image: *const u8, len: u32, options: u64, values: u64) => module::load;
        "cuModuleUnload" 0 After (module: Handle) => module::unload;
        "cuModuleGetFunction" 0 Before (function: Out<Handle>, module: Handle, name: Text) => module::function;
        "cuModuleGetGlobal" 0 Before (address: Out<u64>, bytes: Out<usize>, module: Handle, name: Text) => module::global;
        "cuFuncGetAttribute" 0 Before (value: Out<i32>, attribute: u32, function: Handle) => module::function_attribute;
        "cuFuncSetAttribute" 0 Before (function: Handle, attribute: u32, value: i32) => module::set_function_attribute;
        "cuFuncGetParamInfo" 0 Before (function: Handle, index: usize, offset: Out<usize>, bytes: Out<usize>) => module::param_info;
        "cuOccupancyMaxActiveBlocksPerMultiprocessor" 0 Before (blocks: Out<i32>, function: Handle, threads: i32, shared: usize) => module::occupancy;
        "cuLinkCreate" 0 Before (len: u32, options: u64, values: u64, link: Out<Handle>) => module::link_create;
        "cuLinkAddData" 0 Before (link: Handle, kind: u32, data: In<u8>, bytes: usize, name: Text, len: u32, options: u64, values: u64) => module::link_add;
        "cuLinkComplete" 0 Before (link: Handle, image: Out<u64>, bytes: Out<usize>) => module::link_complete;
        "cuLinkDestroy" 0 After (link: Handle) => module::link_destroy;
        "cuStreamBeginCapture" 0 Before (stream: Handle, mode: u32) => graphs::begin;
        "cuStreamEndCapture" 0 After (stream: Handle, graph: Out<Handle>) => graphs::end;
        "cuStreamIsCapturing" 0 Before (stream: Handle, state: Out<u32>) => graphs::is_capturing;
        "cuStreamGetCaptureInfo" 0 Before (stream: Handle, state: Out<u32>, id: Out<u64>, graph: Out<Handle>, nodes: Out<u64>, len: Out<usize>) => graphs::info;
        "cuThreadExchangeStreamCaptureMode" 0 Before (mode: Out<u32>) => graphs::exchange_mode;
        "cuGraphDestroy" 0 After (graph: Handle) => graphs::destroy;
        "cuGraphGetNodes" 0 Before (graph: Handle, nodes: Out<Handle>, len: Out<usize>) => graphs::nodes;
        "cuGraphInstantiateWithFlags" 0 Before (exec: Out<Handle>, graph: Handle, flags: u64) => graphs::instantiate;
        "cuGraphExecDestroy" 0 After (exec: Handle) => graphs::exec_destroy;
        "cuGraphLaunch" 0 Before (exec: Handle, stream: Handle) => graphs::launch;
        "cuGraphUpload" 0 Before (exec: Handle, stream: Handle) => graphs::upload;
        "cuGraphExecUpdate" 0 Before (exec: Handle, graph: Handle, node: Out<Handle>, result: Out<u32>) => graphs::update;
        "cuGraphExecKernelNodeSetParams" 0 Before (exec: Handle, node: Handle, params: In<graphs::KernelParams>) => graphs::set_kernel;
    }
}

/// All functions by name; of several forms the newest comes last.
static ROWS: LazyLock<HashMap<&'static str, Vec<Row>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&'static str, Vec<Row>> = HashMap::new();
    for row in [device_rows(), memory_rows(), stream_rows(), module_rows()].into_iter().flatten() {
        by_name.entry(row.function.name).or_default().push(row);
    }
    for rows in by_name.values_mut() {
        rows.sort_by_key(|row| row.function.since);
    }
    by_name
});

/// Every function that the fake has.
pub(crate) fn functions() -> impl Iterator<Item = &'static Function> {
    ROWS.values().flatten().map(|row| row.function)
}

/// `cuGetProcAddress_v2`.
///
/// # Safety
///
/// As in `cuda.h`: a name, and room for an address and a number.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn cuGetProcAddress_v2(
    name: *const c_char,
    address: *mut *mut c_void,
    version: c_int,
    _flags: u64,
    status: *mut u32,
) -> u32 {
    // SAFETY: the caller's contract.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let rows = ROWS.get(&*name).map_or(&[][..], Vec::as_slice);
    let row = rows.iter().rev().find(|row| {
        row.function.since <= version && !row.function.is_hidden.load(Ordering::Acquire)
    });
    if let Some(real) = forward::resolve(&name, version) {
        return forwarded(row, real, Out(address), Out(status));
    }
    let found = row.map_or(0, |row| row.address);
    // 1 says that there is no such function.
    Out(status).set_if(u32::from(row.is_none()));
    match Out(address).set(std::ptr::with_exposed_provenance_mut(found)) {
        Ok(()) if row.is_some() => 0,
        Ok(()) => NOT_FOUND,
        Err(code) => code,
    }
}

/// The answer where a driver behind this one has the function at `real`: this one's
/// entry in front of it, if there is one.
fn forwarded(
    row: Option<&Row>,
    real: *mut c_void,
    address: Out<*mut c_void>,
    status: Out<u32>,
) -> u32 {
    status.set_if(u32::from(real.is_null()));
    let found = match row {
        Some(row) if !real.is_null() => {
            row.function.real.store(real.expose_provenance(), Ordering::Release);
            std::ptr::with_exposed_provenance_mut(row.address)
        }
        _ => real,
    };
    match address.set(found) {
        Ok(()) if real.is_null() => NOT_FOUND,
        Ok(()) => 0,
        Err(code) => code,
    }
}

/// Answers a request of a test (see `control`): writes at most `room` bytes to
/// `reply` and gives the answer's length.
///
/// # Safety
///
/// `request` has `len` bytes, `reply` room for `room`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_cuda_control(
    request: *const u8,
    len: usize,
    reply: *mut u8,
    room: usize,
) -> usize {
    // SAFETY: the caller's contract.
    let request = unsafe { std::slice::from_raw_parts(request, len) };
    let answer = crate::control::answer(&String::from_utf8_lossy(request));
    let bytes = answer.len().min(room);
    // SAFETY: as above.
    unsafe { reply.copy_from_nonoverlapping(answer.as_ptr(), bytes) };
    answer.len()
}

/// Registers the host functions that stand for the kernel of a name.
///
/// # Safety
///
/// `name` has `len` bytes; the functions are right for the kernel's parameters
/// and stay loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_cuda_kernel(
    name: *const u8,
    len: usize,
    describe: Describe,
    run: Run,
) {
    // SAFETY: the caller's contract.
    let name = unsafe { std::slice::from_raw_parts(name, len) };
    crate::control::add_kernel(String::from_utf8_lossy(name).into_owned(), describe, run);
}
