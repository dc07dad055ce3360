//! Streams, launches, copies and fills in stream order, and words that streams
//! write and wait for.

use std::ffi::c_void;

use crate::handles::{
    CAPTURE_UNSUPPORTED, Handle, INVALID_VALUE, In, Kind, NOT_READY, NOT_SUPPORTED, Out, Result,
};
use crate::memory::Span;
use crate::objects::Stream;
use crate::work::{HostCall, Work};
use crate::world::Locked;

const NON_BLOCKING: u32 = 1;

pub(crate) fn create(world: &mut Locked, stream: Out<Handle>, flags: u32, priority: i32) -> Result {
    let context = world.current()?;
    if flags > NON_BLOCKING {
        return Err(INVALID_VALUE);
    }
    let (handle, id) = (world.handle(Kind::Stream), world.fresh());
    let priority = priority.clamp(-5, 0);
    let new = Stream::new(context, id, priority, flags & NON_BLOCKING == 0);
    world.streams.push(new);
    let slot = world.streams.len() - 1;
    world.slots.insert(handle, slot);
    stream.set(handle)
}

/// Queued work of a destroyed stream still runs.
pub(crate) fn destroy(world: &mut Locked, stream: Handle) -> Result {
    let found = world.slots.remove(&stream);
    let slot = world.check(found, stream)?;
    if world.streams[slot].capture.is_some() {
        let _ = world.invalidate_capture(slot);
    }
    world.current().map(|_| ())
}

pub(crate) fn synchronize(world: &mut Locked, stream: Handle) -> Result {
    let slot = world.slot(stream)?;
    if world.streams[slot].capture.is_some() {
        let _ = world.invalidate_capture(slot);
        return Err(CAPTURE_UNSUPPORTED);
    }
    let (number, context) = (world.streams[slot].enqueued, world.streams[slot].context);
    let clock = world.streams[slot].clock.clone();
    world.drive(context, |world| world.is_over(slot, number))?;
    world.observe(&clock);
    Ok(())
}

pub(crate) fn query(world: &mut Locked, stream: Handle) -> Result {
    let slot = world.slot(stream)?;
    if world.streams[slot].capture.is_some() {
        let _ = world.invalidate_capture(slot);
        return Err(CAPTURE_UNSUPPORTED);
    }
    let number = world.streams[slot].enqueued;
    if !world.is_over(slot, number) {
        world.poke();
        world.current()?;
    }
    if !world.is_over(slot, number) {
        return Err(NOT_READY);
    }
    let clock = world.streams[slot].clock.clone();
    world.observe(&clock);
    Ok(())
}

pub(crate) fn id(world: &mut Locked, stream: Handle, id: Out<u64>) -> Result {
    let slot = world.slot(stream)?;
    id.set(world.streams[slot].id)
}

pub(crate) fn priority(world: &mut Locked, stream: Handle, priority: Out<i32>) -> Result {
    let slot = world.slot(stream)?;
    priority.set(world.streams[slot].priority)
}

pub(crate) fn priority_range(world: &mut Locked, least: Out<i32>, greatest: Out<i32>) -> Result {
    world.current()?;
    least.set_if(0);
    greatest.set_if(-5);
    Ok(())
}

/// Enqueues and perhaps runs a little.
fn put(world: &mut Locked, stream: Handle, work: Work) -> Result {
    let slot = world.slot(stream)?;
    world.enqueue(slot, work)?;
    world.nudge();
    Ok(())
}

pub(crate) fn copy(world: &mut Locked, to: u64, from: u64, bytes: usize, stream: Handle) -> Result {
    world.slot(stream)?;
    if bytes == 0 {
        return Ok(());
    }
    put(world, stream, Work::Copy { to, from, bytes: bytes as u64 })
}

pub(crate) fn copy_peer(
    world: &mut Locked,
    to: u64,
    _to_context: Handle,
    from: u64,
    _from_context: Handle,
    bytes: usize,
    stream: Handle,
) -> Result {
    copy(world, to, from, bytes, stream)
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    from_x: u64,
    from_y: u64,
    from_kind: u32,
    from_host: u64,
    from_device: u64,
    from_array: u64,
    from_pitch: u64,
    to_x: u64,
    to_y: u64,
    to_kind: u32,
    to_host: u64,
    to_device: u64,
    to_array: u64,
    to_pitch: u64,
    width: u64,
    height: u64,
}

/// Rows of device memory; other kinds are not what Raddle copies by rows.
pub(crate) fn copy_rows(world: &mut Locked, rows: In<Rows>, stream: Handle) -> Result {
    const DEVICE: u32 = 2;
    let rows = rows.get()?;
    if rows.from_kind != DEVICE || rows.to_kind != DEVICE {
        return Err(NOT_SUPPORTED);
    }
    let is_narrow = |pitch: u64| pitch < rows.width;
    if rows.height > 1 && (is_narrow(rows.from_pitch) || is_narrow(rows.to_pitch)) {
        return Err(INVALID_VALUE);
    }
    let work = Work::Rows {
        to: rows.to_device + rows.to_y * rows.to_pitch + rows.to_x,
        to_pitch: rows.to_pitch,
        from: rows.from_device + rows.from_y * rows.from_pitch + rows.from_x,
        from_pitch: rows.from_pitch,
        width: rows.width,
        height: rows.height,
    };
    put(world, stream, work)
}

/// A copy from pageable memory takes its content at once, as the driver stages it.
pub(crate) fn copy_to_device(
    world: &mut Locked,
    to: u64,
    from: *const u8,
    bytes: usize,
    stream: Handle,
) -> Result {
    let slot = world.slot(stream)?;
    let address = from.expose_provenance() as u64;
    if bytes == 0 || world.memory.find(address).is_some() {
        return copy(world, to, address, bytes, stream);
    }
    if world.streams[slot].capture.is_some() {
        let _ = world.invalidate_capture(slot);
        return Err(CAPTURE_UNSUPPORTED);
    }
    // SAFETY: the contract of the C function: `bytes` readable bytes.
    let data = unsafe { std::slice::from_raw_parts(from, bytes) };
    put(world, stream, Work::CopyIn { to, data: data.into() })
}

/// A copy to pageable memory returns when it has ended, as the driver documents.
pub(crate) fn copy_to_host(
    world: &mut Locked,
    to: *mut u8,
    from: u64,
    bytes: usize,
    stream: Handle,
) -> Result {
    let slot = world.slot(stream)?;
    let address = to.expose_provenance() as u64;
    if bytes == 0 || world.memory.find(address).is_some() {
        return copy(world, address, from, bytes, stream);
    }
    if world.streams[slot].capture.is_some() {
        let _ = world.invalidate_capture(slot);
        return Err(CAPTURE_UNSUPPORTED);
    }
    let read = Span { address: from, bytes: bytes as u64, is_write: false };
    // Known to the detector of races as a read of the device memory.
    let number = world.push(slot, Work::Read(read), Vec::new());
    let context = world.streams[slot].context;
    world.drive(context, |world| world.is_over(slot, number))?;
    match world.memory.touch(read) {
        // SAFETY: live memory, and the contract of the C function.
        Ok(source) => unsafe { to.copy_from(source, bytes) },
        Err(problem) => world.violate(format!("a copy to the host: {problem}")),
    }
    Ok(())
}

pub(crate) fn fill_u8(
    world: &mut Locked,
    to: u64,
    value: u8,
    len: usize,
    stream: Handle,
) -> Result {
    let len = len as u64;
    put(world, stream, Work::Fill { to, value: u32::from_ne_bytes([value; 4]), width: 1, len })
}

pub(crate) fn fill_u16(
    world: &mut Locked,
    to: u64,
    value: u16,
    len: usize,
    stream: Handle,
) -> Result {
    let [low, high] = value.to_ne_bytes();
    let value = u32::from_ne_bytes([low, high, low, high]);
    put(world, stream, Work::Fill { to, value, width: 2, len: len as u64 })
}

pub(crate) fn fill_u32(
    world: &mut Locked,
    to: u64,
    value: u32,
    len: usize,
    stream: Handle,
) -> Result {
    put(world, stream, Work::Fill { to, value, width: 4, len: len as u64 })
}

pub(crate) fn write_u64(
    world: &mut Locked,
    stream: Handle,
    address: u64,
    value: u64,
    _flags: u32,
) -> Result {
    put(world, stream, Work::WriteValue { address, value, width: 8 })
}

pub(crate) fn write_u32(
    world: &mut Locked,
    stream: Handle,
    address: u64,
    value: u32,
    _flags: u32,
) -> Result {
    put(world, stream, Work::WriteValue { address, value: value.into(), width: 4 })
}

pub(crate) fn wait_u64(
    world: &mut Locked,
    stream: Handle,
    address: u64,
    value: u64,
    flags: u32,
) -> Result {
    put(world, stream, Work::WaitValue { address, value, width: 8, condition: flags })
}

pub(crate) fn wait_u32(
    world: &mut Locked,
    stream: Handle,
    address: u64,
    value: u32,
    flags: u32,
) -> Result {
    let value = value.into();
    put(world, stream, Work::WaitValue { address, value, width: 4, condition: flags })
}

pub(crate) fn host_function(
    world: &mut Locked,
    stream: Handle,
    function: Option<unsafe extern "C" fn(*mut c_void)>,
    data: *mut c_void,
) -> Result {
    let function = function.ok_or(INVALID_VALUE)?;
    let data = data.expose_provenance();
    put(world, stream, Work::Host(HostCall { function, data }))
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) stream: Handle,
    attributes: usize,
    attributes_len: u32,
}

pub(crate) fn launch(
    world: &mut Locked,
    function: Handle,
    gx: u32,
    gy: u32,
    gz: u32,
    bx: u32,
    by: u32,
    bz: u32,
    _shared_bytes: u32,
    stream: Handle,
    params: In<In<u8>>,
    _extra: usize,
) -> Result {
    let slot = world.slot(stream)?;
    let launch = world.bind(function, [gx, gy, gz], [bx, by, bz], params)?;
    world.enqueue(slot, Work::Kernel(launch))?;
    world.nudge();
    Ok(())
}

pub(crate) fn launch_ex(
    world: &mut Locked,
    config: In<LaunchConfig>,
    function: Handle,
    params: In<In<u8>>,
    _extra: usize,
) -> Result {
    let config = config.get()?;
    let slot = world.slot(config.stream)?;
    let launch = world.bind(function, config.grid, config.block, params)?;
    world.enqueue(slot, Work::Kernel(launch))?;
    world.nudge();
    Ok(())
}
