//! Memory that is allocated and freed at once: device, pinned, registered,
//! managed.

use crate::handles::{Handle, INVALID_VALUE, NOT_SUPPORTED, Out, Result};
use crate::memory::Origin;
use crate::world::{Locked, World};

pub(crate) fn info(world: &mut Locked, free: Out<usize>, total: Out<usize>) -> Result {
    let (device, _) = world.place()?;
    let (bytes, used) = (world.settings.memory_bytes, world.used.get(&device).copied());
    free.set(bytes.saturating_sub(used.unwrap_or(0)) as usize)?;
    total.set(bytes as usize)
}

pub(crate) fn allocate(world: &mut Locked, address: Out<u64>, bytes: usize) -> Result {
    let place = world.place()?;
    world.forbid_in_capture()?;
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    world.take_memory(place.0, bytes as u64)?;
    address.set(world.memory.add_device(place, Origin::Plain, bytes as u64, 0))
}

pub(crate) fn allocate_managed(
    world: &mut Locked,
    address: Out<u64>,
    bytes: usize,
    _flags: u32,
) -> Result {
    let place = world.place()?;
    world.forbid_in_capture()?;
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    address.set(world.memory.add_host(place, Origin::Managed, bytes as u64))
}

/// Waits for the device, as the driver does.
pub(crate) fn free(world: &mut Locked, address: u64) -> Result {
    let (device, _) = world.place()?;
    world.forbid_in_capture()?;
    if address == 0 {
        return Ok(());
    }
    super::device::synchronize(world)?;
    let found = world.memory.at(address).map(|range| (range.origin, range.bytes));
    match found {
        Some((Origin::Plain, bytes)) => world.give_memory(device, bytes),
        Some((Origin::Managed, _)) => {}
        // As documented, cuMemFree takes memory of pools as well.
        Some((Origin::Pooled(pool), bytes)) => {
            world.note_pool_free(pool, bytes, None);
            world.return_to_pool(pool, bytes);
        }
        _ => {
            world.violate(format!("{address:#x} was freed, which is no live allocation"));
            return Err(INVALID_VALUE);
        }
    }
    world.memory.remove(address);
    Ok(())
}

pub(crate) fn host_allocate(
    world: &mut Locked,
    pointer: Out<u64>,
    bytes: usize,
    _flags: u32,
) -> Result {
    let place = world.place()?;
    world.forbid_in_capture()?;
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    pointer.set(world.memory.add_host(place, Origin::Pinned, bytes as u64))
}

pub(crate) fn host_free(world: &mut Locked, pointer: *mut u8) -> Result {
    world.place()?;
    world.forbid_in_capture()?;
    let address = pointer.expose_provenance() as u64;
    match world.memory.at(address).map(|range| (range.origin, range.bytes)) {
        Some((Origin::Pinned, bytes)) => {
            if let Some(what) = world.pending_use(address, bytes) {
                world.violate(format!("pinned memory of {bytes} bytes was freed under {what}"));
                world.memory.remove_to_quarantine(address);
            } else {
                world.memory.remove(address);
            }
            Ok(())
        }
        _ => {
            world.violate(format!("{address:#x} was freed, which is no live pinned memory"));
            Err(INVALID_VALUE)
        }
    }
}

pub(crate) fn host_register(
    world: &mut Locked,
    pointer: *mut u8,
    bytes: usize,
    _flags: u32,
) -> Result {
    let place = world.place()?;
    if bytes == 0 || pointer.is_null() {
        return Err(INVALID_VALUE);
    }
    world.memory.add_registered(place, pointer, bytes as u64);
    Ok(())
}

pub(crate) fn host_unregister(world: &mut Locked, pointer: *mut u8) -> Result {
    world.place()?;
    let address = pointer.expose_provenance() as u64;
    match world.memory.at(address).map(|range| (range.origin, range.bytes)) {
        Some((Origin::Registered, bytes)) => {
            if let Some(what) = world.pending_use(address, bytes) {
                world.violate(format!("host memory was unregistered under {what}"));
            }
            world.memory.remove(address);
            Ok(())
        }
        _ => Err(713),
    }
}

pub(crate) fn host_device_pointer(
    world: &mut Locked,
    address: Out<u64>,
    pointer: *mut u8,
    _flags: u32,
) -> Result {
    world.place()?;
    let host = pointer.expose_provenance() as u64;
    match world.memory.find(host) {
        Some(range) if range.origin.is_host() => address.set(host),
        _ => Err(INVALID_VALUE),
    }
}

/// `cuMemAdvise` and `cuMemPrefetchAsync` change nothing but where memory lies.
fn check_managed(world: &mut Locked, address: u64, bytes: usize) -> Result {
    world.place()?;
    match world.memory.find(address) {
        Some(range) if range.origin == Origin::Managed => {
            let end = range.address + range.bytes;
            if address + bytes as u64 <= end { Ok(()) } else { Err(INVALID_VALUE) }
        }
        _ => Err(INVALID_VALUE),
    }
}

pub(crate) fn advise(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    _advice: u32,
    _device: i32,
) -> Result {
    check_managed(world, address, bytes)
}

/// The form of CUDA 12.2, with a `CUmemLocation` in one word.
pub(crate) fn advise_at(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    _advice: u32,
    _location: u64,
) -> Result {
    check_managed(world, address, bytes)
}

pub(crate) fn prefetch(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    _device: i32,
    stream: Handle,
) -> Result {
    check_managed(world, address, bytes)?;
    world.slot(stream).map(|_| ())
}

/// The form of CUDA 12.2.
pub(crate) fn prefetch_at(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    _location: u64,
    _flags: u32,
    stream: Handle,
) -> Result {
    check_managed(world, address, bytes)?;
    world.slot(stream).map(|_| ())
}

/// `cuPointerGetAttribute`: context, memory type, device ordinal, managed, size
/// and start of the range.
pub(crate) fn pointer_attribute(
    world: &mut Locked,
    value: *mut u8,
    attribute: u32,
    address: u64,
) -> Result {
    let Some(range) = world.memory.find(address) else { return Err(INVALID_VALUE) };
    let is_host = range.origin.is_host();
    match attribute {
        1 => Out(value.cast::<Handle>()).set(range.context),
        2 => Out(value.cast::<u32>()).set(if is_host { 1 } else { 2 }),
        8 => Out(value.cast::<u32>()).set((range.origin == Origin::Managed).into()),
        9 => Out(value.cast::<i32>()).set(range.device),
        11 => Out(value.cast::<u64>()).set(range.address),
        12 => Out(value.cast::<u64>()).set(range.bytes),
        _ => Err(NOT_SUPPORTED),
    }
}

impl World {
    /// The name of queued work that touches bytes, if there is any.
    pub(crate) fn pending_use(&mut self, address: u64, bytes: u64) -> Option<String> {
        let queued: Vec<_> = self
            .active
            .iter()
            .flat_map(|&slot| {
                self.streams[slot].queue.iter().map(move |queued| (slot, queued.work.clone()))
            })
            .collect();
        queued.into_iter().find_map(|(slot, work)| {
            let spans = self.spans(&work);
            let hit = spans
                .iter()
                .any(|span| span.address < address + bytes && address < span.address + span.bytes);
            hit.then(|| format!("{} queued in stream slot {slot}", work.name()))
        })
    }
}
