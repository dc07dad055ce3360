//! Reserved address ranges and physical memory mapped into them.
//!
//! The bytes belong to the range: memory that is unmapped and mapped again, here or
//! elsewhere, has unspecified content, of which nothing that Raddle does may
//! depend.

use crate::handles::{Handle, INVALID_VALUE, In, Kind, Out, Result};
use crate::memory::{Mapping, Origin};
use crate::objects::Physical;
use crate::world::{Locked, World};

/// What sizes and addresses of mappings are multiples of.
const GRANULARITY: u64 = 2 << 20;

/// `CUmemAllocationProp`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    kind: u32,
    handles: u32,
    location_kind: u32,
    device: i32,
    metadata: usize,
    flags: u64,
}

/// `CUmemAccessDesc`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Access {
    location_kind: u32,
    device: i32,
    flags: u32,
}

pub(crate) fn granularity(
    world: &mut Locked,
    bytes: Out<usize>,
    properties: In<Properties>,
    _option: u32,
) -> Result {
    world.place()?;
    properties.get()?;
    bytes.set(GRANULARITY as usize)
}

pub(crate) fn reserve(
    world: &mut Locked,
    address: Out<u64>,
    bytes: usize,
    align: usize,
    _wanted: u64,
    flags: u64,
) -> Result {
    let place = world.place()?;
    if bytes == 0 || !(bytes as u64).is_multiple_of(GRANULARITY) || flags != 0 {
        return Err(INVALID_VALUE);
    }
    let align = (align as u64).max(GRANULARITY);
    address.set(world.memory.add_device(place, Origin::Reserved, bytes as u64, align))
}

pub(crate) fn unreserve(world: &mut Locked, address: u64, bytes: usize) -> Result {
    world.place()?;
    let found = world.memory.at(address).map(|range| {
        (range.origin == Origin::Reserved && range.bytes == bytes as u64, range.mapped.len())
    });
    match found {
        Some((true, 0)) => {
            world.memory.remove(address);
            Ok(())
        }
        Some((true, mapped)) => {
            world.violate(format!("a range with {mapped} mappings in it was given back"));
            Err(INVALID_VALUE)
        }
        _ => {
            world.violate(format!("{address:#x} was given back, which is no reserved range"));
            Err(INVALID_VALUE)
        }
    }
}

pub(crate) fn create(
    world: &mut Locked,
    physical: Out<Handle>,
    bytes: usize,
    properties: In<Properties>,
    _flags: u64,
) -> Result {
    let (_, context) = world.place()?;
    let properties = properties.get()?;
    if bytes == 0 || !(bytes as u64).is_multiple_of(GRANULARITY) || properties.kind != 1 {
        return Err(INVALID_VALUE);
    }
    if properties.location_kind != 1 || properties.metadata != 0 {
        return Err(INVALID_VALUE);
    }
    let (device, bytes) = (properties.device, bytes as u64);
    world.take_memory(device, bytes)?;
    let handle = world.handle(Kind::Physical);
    let new = Physical { device, context, bytes, mappings: 0, is_released: false };
    world.physical.insert(handle, new);
    physical.set(handle)
}

/// The memory goes when it is mapped nowhere.
pub(crate) fn release(world: &mut Locked, physical: Handle) -> Result {
    world.place()?;
    match world.physical.get_mut(&physical).filter(|physical| !physical.is_released) {
        Some(found) => found.is_released = true,
        None => return world.check(None, physical),
    }
    world.collect(physical);
    Ok(())
}

pub(crate) fn map(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    offset: usize,
    physical: Handle,
    _flags: u64,
) -> Result {
    world.place()?;
    let bytes = bytes as u64;
    let Some(found) = world.physical.get(&physical) else {
        return world.check(None, physical);
    };
    if offset != 0 || bytes != found.bytes || found.is_released {
        return Err(INVALID_VALUE);
    }
    let Some(range) = world.memory.find(address) else { return Err(INVALID_VALUE) };
    let start = address - range.address;
    let is_inside = range.origin == Origin::Reserved && bytes <= range.bytes - start;
    let overlaps = range.mapped.iter().any(|(&at, m)| at < start + bytes && start < at + m.bytes);
    if !is_inside || overlaps || !start.is_multiple_of(GRANULARITY) {
        return Err(INVALID_VALUE);
    }
    range.mapped.insert(start, Mapping { bytes, physical, is_accessible: false });
    range.refresh(start, bytes);
    if let Some(physical) = world.physical.get_mut(&physical) {
        physical.mappings += 1;
    }
    Ok(())
}

/// Whole mappings only; work that still touches them is reported.
pub(crate) fn unmap(world: &mut Locked, address: u64, bytes: usize) -> Result {
    world.place()?;
    let bytes = bytes as u64;
    let Some(range) = world.memory.find(address) else { return Err(INVALID_VALUE) };
    let start = address - range.address;
    let inside: Vec<(u64, Mapping)> =
        range.mapped.range(start..start + bytes).map(|(&at, &mapping)| (at, mapping)).collect();
    let is_whole = inside.iter().map(|entry| entry.1.bytes).sum::<u64>() == bytes;
    if range.origin != Origin::Reserved || !is_whole {
        return Err(INVALID_VALUE);
    }
    for (at, _) in &inside {
        range.mapped.remove(at);
    }
    range.history.forget(address, address + bytes);
    if let Some(what) = world.pending_use(address, bytes) {
        world.violate(format!("{bytes} bytes were unmapped under {what}"));
    }
    for (_, mapping) in inside {
        if let Some(physical) = world.physical.get_mut(&mapping.physical) {
            physical.mappings -= 1;
        }
        world.collect(mapping.physical);
    }
    Ok(())
}

pub(crate) fn set_access(
    world: &mut Locked,
    address: u64,
    bytes: usize,
    access: In<Access>,
    len: usize,
) -> Result {
    world.place()?;
    for access in access.list(len)? {
        if access.location_kind != 1 || access.device < 0 {
            return Err(INVALID_VALUE);
        }
        let is_accessible = access.flags == 3;
        let Some(range) = world.memory.find(address) else { return Err(INVALID_VALUE) };
        let is_home = range.device == access.device;
        let start = address - range.address;
        let mut covered = 0;
        for (_, mapping) in range.mapped.range_mut(start..start + bytes as u64) {
            covered += mapping.bytes;
            // The ledger knows one answer for all devices: the home's.
            if is_home {
                mapping.is_accessible = is_accessible;
            }
        }
        if covered != bytes as u64 {
            return Err(INVALID_VALUE);
        }
    }
    Ok(())
}

impl World {
    /// Gives physical memory back that nobody can reach any more.
    fn collect(&mut self, handle: Handle) {
        let Some(physical) = self.physical.get(&handle) else { return };
        if physical.is_released && physical.mappings == 0 {
            let (device, bytes) = (physical.device, physical.bytes);
            self.physical.remove(&handle);
            self.give_memory(device, bytes);
        }
    }
}
