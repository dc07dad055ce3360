//! Stream-ordered allocation from pools.
//!
//! What a pool holds counts as the driver's does: memory whose free is enqueued on
//! a stream may be handed out again on that stream at once, and on others when the
//! free was reached.

use crate::handles::{Handle, INVALID_HANDLE, INVALID_VALUE, In, Kind, NOT_SUPPORTED, Out, Result};
use crate::memory::Origin;
use crate::objects::Pool;
use crate::work::Work;
use crate::world::{Locked, World};

/// `CUmemPoolProps`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    allocation: u32,
    handles: u32,
    location_kind: u32,
    device: i32,
    security_attributes: usize,
    bytes_max: usize,
    usage: u16,
    reserved: [u8; 54],
}

pub(crate) fn create(world: &mut Locked, pool: Out<Handle>, properties: In<Properties>) -> Result {
    let context = world.current()?;
    let properties = properties.get()?;
    let device = properties.device;
    let is_pinned = properties.allocation == 1 && properties.location_kind == 1;
    if !is_pinned || properties.reserved != [0; 54] || properties.usage != 0 {
        return Err(INVALID_VALUE);
    }
    if properties.handles != 0 || properties.security_attributes != 0 || properties.bytes_max != 0 {
        return Err(NOT_SUPPORTED);
    }
    let handle = world.handle(Kind::Pool);
    let new = Pool {
        device,
        context,
        threshold: 0,
        reserved: 0,
        reserved_max: 0,
        used: 0,
        used_max: 0,
        held: 0,
        credit: Vec::new(),
        is_destroyed: false,
    };
    world.pools.insert(handle, new);
    pool.set(handle)
}

/// Memory handed out stays until it is freed.
pub(crate) fn destroy(world: &mut Locked, pool: Handle) -> Result {
    match world.pools.get_mut(&pool).filter(|pool| !pool.is_destroyed) {
        Some(found) => found.is_destroyed = true,
        None => return world.check(None, pool),
    }
    world.trim_pool(pool, 0);
    Ok(())
}

pub(crate) fn set_attribute(
    world: &mut Locked,
    pool: Handle,
    attribute: u32,
    value: In<u64>,
) -> Result {
    world.current()?;
    let Some(pool) = world.pools.get_mut(&pool) else { return Err(INVALID_HANDLE) };
    match attribute {
        // Which reuse is allowed; the value is an int.
        1..=3 => Ok(()),
        4 => {
            pool.threshold = value.get()?;
            Ok(())
        }
        6 => {
            pool.reserved_max = pool.reserved;
            Ok(())
        }
        8 => {
            pool.used_max = pool.used;
            Ok(())
        }
        _ => Err(INVALID_VALUE),
    }
}

pub(crate) fn get_attribute(
    world: &mut Locked,
    pool: Handle,
    attribute: u32,
    value: Out<u64>,
) -> Result {
    world.current()?;
    let Some(pool) = world.pools.get(&pool) else { return Err(INVALID_HANDLE) };
    value.set(match attribute {
        4 => pool.threshold,
        5 => pool.reserved,
        6 => pool.reserved_max,
        7 => pool.used,
        8 => pool.used_max,
        _ => return Err(INVALID_VALUE),
    })
}

pub(crate) fn trim(world: &mut Locked, pool: Handle, keep: usize) -> Result {
    world.current()?;
    if !world.pools.contains_key(&pool) {
        return world.check(None, pool);
    }
    world.trim_pool(pool, keep as u64);
    Ok(())
}

pub(crate) fn set_access(world: &mut Locked, pool: Handle, _access: u64, _len: usize) -> Result {
    world.current()?;
    if world.pools.contains_key(&pool) { Ok(()) } else { Err(INVALID_HANDLE) }
}

pub(crate) fn allocate(
    world: &mut Locked,
    address: Out<u64>,
    bytes: usize,
    pool: Handle,
    stream: Handle,
) -> Result {
    let slot = world.slot(stream)?;
    if world.streams[slot].capture.is_some() {
        // The driver would make a memory node, which Raddle never wants.
        return Err(NOT_SUPPORTED);
    }
    let Some((device, context)) = world.pools.get(&pool).map(|pool| (pool.device, pool.context))
    else {
        return world.check(None, pool);
    };
    if bytes == 0 {
        return Err(INVALID_VALUE);
    }
    world.take_from_pool(pool, slot, bytes as u64)?;
    let (place, origin) = ((device, context), Origin::Pooled(pool));
    let at = world.memory.add_device(place, origin, bytes as u64, 0);
    if let Some(range) = world.memory.at(at) {
        range.is_pending = true;
    }
    world.push(slot, Work::Allocate { address: at }, Vec::new());
    world.nudge();
    address.set(at)
}

pub(crate) fn free(world: &mut Locked, address: u64, stream: Handle) -> Result {
    let slot = world.slot(stream)?;
    if world.streams[slot].capture.is_some() {
        return Err(NOT_SUPPORTED);
    }
    match world.memory.at(address) {
        Some(range) if range.is_doomed => {
            world.violate(format!("{address:#x} was freed twice"));
            return Err(INVALID_VALUE);
        }
        Some(range) => range.is_doomed = true,
        None => {
            world.violate(format!("{address:#x} was freed, which is no live allocation"));
            return Err(INVALID_VALUE);
        }
    }
    let found = world.memory.at(address).map(|range| (range.origin, range.bytes));
    if let Some((Origin::Pooled(pool), bytes)) = found {
        world.note_pool_free(pool, bytes, Some(slot));
    }
    world.push(slot, Work::Free { address }, Vec::new());
    world.nudge();
    Ok(())
}

impl World {
    /// Makes a pool hand out `bytes`, growing it if need be.
    fn take_from_pool(&mut self, handle: Handle, slot: usize, bytes: u64) -> Result {
        let Some(pool) = self.pools.get_mut(&handle) else { return Err(INVALID_HANDLE) };
        let credit = pool.credit.iter_mut().find(|entry| entry.0 == slot);
        let reused = credit.as_ref().map_or(0, |entry| entry.1.min(bytes));
        let spare = (pool.reserved - pool.held).min(bytes - reused);
        let grown = bytes - reused - spare;
        let device = pool.device;
        self.take_memory(device, grown)?;
        let pool = self.pools.get_mut(&handle).expect("found above");
        if let Some(entry) = pool.credit.iter_mut().find(|entry| entry.0 == slot) {
            entry.1 -= reused;
        }
        pool.reserved += grown;
        pool.reserved_max = pool.reserved_max.max(pool.reserved);
        pool.held += spare + grown;
        pool.used += bytes;
        pool.used_max = pool.used_max.max(pool.used);
        Ok(())
    }

    /// Notes that a free of pool memory was asked for.
    pub(crate) fn note_pool_free(&mut self, handle: Handle, bytes: u64, slot: Option<usize>) {
        let Some(pool) = self.pools.get_mut(&handle) else { return };
        pool.used = pool.used.saturating_sub(bytes);
        let Some(slot) = slot else { return };
        match pool.credit.iter_mut().find(|entry| entry.0 == slot) {
            Some(entry) => entry.1 += bytes,
            None => pool.credit.push((slot, bytes)),
        }
    }

    /// Gives memory back to its pool once its free is reached. What was handed out
    /// again before, on the same stream, stays handed out.
    pub(crate) fn return_to_pool(&mut self, handle: Handle, bytes: u64) {
        let Some(pool) = self.pools.get_mut(&handle) else { return };
        let mut left = bytes;
        for entry in &mut pool.credit {
            let part = entry.1.min(left);
            entry.1 -= part;
            left -= part;
            pool.held = pool.held.saturating_sub(part);
        }
        pool.credit.retain(|entry| entry.1 > 0);
        let (is_destroyed, threshold) = (pool.is_destroyed, pool.threshold);
        self.trim_pool(handle, if is_destroyed { 0 } else { threshold });
    }

    fn trim_pool(&mut self, handle: Handle, keep: u64) {
        let Some(pool) = self.pools.get_mut(&handle) else { return };
        let floor = pool.held.max(keep);
        let (device, given) = (pool.device, pool.reserved.saturating_sub(floor));
        pool.reserved -= given;
        let is_over = pool.is_destroyed && pool.held == 0;
        self.give_memory(device, given);
        if is_over {
            self.pools.remove(&handle);
        }
    }
}
