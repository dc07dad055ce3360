//! The driver itself, devices and primary contexts.

use crate::handles::{
    Handle, INVALID_CONTEXT, INVALID_DEVICE, INVALID_VALUE, In, Kind, NOT_INITIALIZED, Out,
    PEER_ALREADY_ENABLED, PEER_NOT_ENABLED, Result, write_text,
};
use crate::objects::Context;
use crate::world::{CURRENT, Locked};

pub(crate) fn init(world: &mut Locked, flags: u32) -> Result {
    if flags != 0 {
        return Err(INVALID_VALUE);
    }
    world.is_started = true;
    crate::ledger::write_at_exit();
    if world.settings.devices == 0 { Err(100) } else { Ok(()) }
}

pub(crate) fn version(world: &mut Locked, version: Out<i32>) -> Result {
    version.set(world.settings.version)
}

fn check_device(world: &Locked, device: i32) -> Result {
    if !world.is_started {
        return Err(NOT_INITIALIZED);
    }
    if (0..world.settings.devices).contains(&device) { Ok(()) } else { Err(INVALID_DEVICE) }
}

pub(crate) fn get(world: &mut Locked, device: Out<i32>, ordinal: i32) -> Result {
    check_device(world, ordinal)?;
    device.set(ordinal)
}

pub(crate) fn get_count(world: &mut Locked, count: Out<i32>) -> Result {
    if !world.is_started {
        return Err(NOT_INITIALIZED);
    }
    count.set(world.settings.devices)
}

pub(crate) fn get_name(world: &mut Locked, name: Out<u8>, len: i32, device: i32) -> Result {
    check_device(world, device)?;
    write_text(name, len.unsigned_abs() as usize, &format!("Fake GPU {device}"))
}

pub(crate) fn get_uuid(world: &mut Locked, uuid: Out<[u8; 16]>, device: i32) -> Result {
    check_device(world, device)?;
    let mut bytes = *b"fake-gpu-0000000";
    bytes[12..].copy_from_slice(&device.to_be_bytes());
    uuid.set(bytes)
}

pub(crate) fn total_memory(world: &mut Locked, bytes: Out<usize>, device: i32) -> Result {
    check_device(world, device)?;
    bytes.set(world.settings.memory_bytes as usize)
}

pub(crate) fn attribute(
    world: &mut Locked,
    value: Out<i32>,
    attribute: u32,
    device: i32,
) -> Result {
    check_device(world, device)?;
    let set = world.settings.attributes.iter().rev().find(|entry| entry.0 == attribute);
    let found = match (set, attribute) {
        (Some(&(_, found)), _) => found,
        (None, 75) => world.settings.capability.0,
        (None, 76) => world.settings.capability.1,
        (None, 33) => device,
        (None, 34 | 50) => 0,
        // Limits and abilities of an H100, as `cuDeviceGetAttribute` gives them.
        (None, 1..=3) => 1024,
        (None, 4) => 64,
        (None, 5) => i32::MAX,
        (None, 6 | 7) => 65_535,
        (None, 8) => 49_152,
        (None, 10) => 32,
        (None, 12) => 65_536,
        (None, 13 | 36) => 1_980_000,
        (None, 16) => 132,
        (None, 37) => 5120,
        (None, 38) => 50 << 20,
        (None, 39) => 2048,
        (None, 81) => 233_472,
        (None, 97) => 232_448,
        (None, 111) => 1024,
        (None, 82 | 106) => 65_536,
        (None, 18 | 86 | 103 | 104 | 107 | 110) => 0,
        (None, 1..=150) => 1,
        _ => return Err(INVALID_VALUE),
    };
    value.set(found)
}

pub(crate) fn retain(world: &mut Locked, context: Out<Handle>, device: i32) -> Result {
    check_device(world, device)?;
    if let Some((handle, retains)) = world.primaries.get_mut(&device) {
        *retains += 1;
        return context.set(*handle);
    }
    let handle = world.handle(Kind::Context);
    let new = Context { device, fault: None, peers: Vec::new(), limits: Vec::new() };
    world.contexts.insert(handle, new);
    world.primaries.insert(device, (handle, 1));
    context.set(handle)
}

pub(crate) fn release(world: &mut Locked, device: i32) -> Result {
    check_device(world, device)?;
    let Some((handle, retains)) = world.primaries.get_mut(&device) else {
        world
            .violate(format!("the primary context of device {device} was released once too often"));
        return Err(INVALID_CONTEXT);
    };
    *retains -= 1;
    if *retains == 0 {
        let handle = *handle;
        world.primaries.remove(&device);
        report_left(world, device, handle);
        world.destroy_context(handle);
    }
    Ok(())
}

/// Reports what is alive in a context that nobody retains any more. What is in a lost
/// one cannot be given back.
fn report_left(world: &mut Locked, device: i32, context: Handle) {
    if world.contexts.get(&context).is_none_or(|context| context.fault.is_some()) {
        return;
    }
    let ledger = world.ledger(Some(device));
    let rows = ledger.lines().filter_map(|line| line.split_once(' '));
    for (name, count) in rows.filter(|&(name, count)| name != "contexts" && count != "0") {
        // Pool memory is counted in bytes as well, and work by its memory.
        if !name.ends_with("_bytes") && !matches!(name, "graphs" | "links") {
            world.violate(format!("device {device} is released with {count} {name} alive"));
        }
    }
}

pub(crate) fn reset(world: &mut Locked, device: i32) -> Result {
    check_device(world, device)?;
    if let Some((handle, _)) = world.primaries.remove(&device) {
        world.destroy_context(handle);
    }
    Ok(())
}

pub(crate) fn state(world: &mut Locked, device: i32, flags: Out<u32>, active: Out<i32>) -> Result {
    check_device(world, device)?;
    flags.set_if(0);
    active.set(world.primaries.contains_key(&device).into())
}

pub(crate) fn set_current(world: &mut Locked, context: Handle) -> Result {
    if !context.is_null() && !world.contexts.contains_key(&context) {
        world.violate(format!("{context} was made current, which does not exist any more"));
        return Err(INVALID_CONTEXT);
    }
    CURRENT.set(context);
    Ok(())
}

pub(crate) fn get_current(_: &mut Locked, context: Out<Handle>) -> Result {
    context.set(CURRENT.get())
}

pub(crate) fn context_id(world: &mut Locked, context: Handle, id: Out<u64>) -> Result {
    let context = if context.is_null() { world.current()? } else { context };
    id.set(context.0)
}

pub(crate) fn context_device(world: &mut Locked, device: Out<i32>) -> Result {
    device.set(world.place()?.0)
}

pub(crate) fn synchronize(world: &mut Locked) -> Result {
    let context = world.current()?;
    let targets: Vec<(usize, u64)> = world
        .streams
        .iter()
        .enumerate()
        .filter_map(|(slot, s)| {
            (s.context == context && s.completed < s.enqueued).then_some((slot, s.enqueued))
        })
        .collect();
    world.drive(context, |world| targets.iter().all(|&(slot, n)| world.is_over(slot, n)))?;
    for (slot, _) in targets {
        let clock = world.streams[slot].clock.clone();
        world.observe(&clock);
    }
    Ok(())
}

pub(crate) fn get_limit(world: &mut Locked, value: Out<usize>, limit: u32) -> Result {
    let context = world.current()?;
    let limits = &world.contexts[&context].limits;
    value.set(limits.iter().rev().find(|entry| entry.0 == limit).map_or(1024, |entry| entry.1))
}

pub(crate) fn set_limit(world: &mut Locked, limit: u32, value: usize) -> Result {
    let context = world.current()?;
    if let Some(context) = world.contexts.get_mut(&context) {
        context.limits.push((limit, value));
    }
    Ok(())
}

pub(crate) fn can_access_peer(
    world: &mut Locked,
    value: Out<i32>,
    device: i32,
    peer: i32,
) -> Result {
    check_device(world, device)?;
    check_device(world, peer)?;
    value.set((world.settings.has_peers && device != peer).into())
}

pub(crate) fn peer_attribute(
    world: &mut Locked,
    value: Out<i32>,
    _attribute: u32,
    device: i32,
    peer: i32,
) -> Result {
    can_access_peer(world, value, device, peer)
}

pub(crate) fn enable_peer(world: &mut Locked, peer: Handle, _flags: u32) -> Result {
    let context = world.current()?;
    let device = world.contexts.get(&peer).map(|peer| peer.device).ok_or(INVALID_CONTEXT)?;
    if !world.settings.has_peers {
        return Err(217);
    }
    let peers = &mut world.contexts.get_mut(&context).ok_or(INVALID_CONTEXT)?.peers;
    if peers.contains(&device) {
        return Err(PEER_ALREADY_ENABLED);
    }
    peers.push(device);
    Ok(())
}

pub(crate) fn disable_peer(world: &mut Locked, peer: Handle) -> Result {
    let context = world.current()?;
    let device = world.contexts.get(&peer).map(|peer| peer.device).ok_or(INVALID_CONTEXT)?;
    let peers = &mut world.contexts.get_mut(&context).ok_or(INVALID_CONTEXT)?.peers;
    let at = peers.iter().position(|&other| other == device).ok_or(PEER_NOT_ENABLED)?;
    peers.remove(at);
    Ok(())
}

/// `cuTensorMapEncodeTiled`: the descriptor is opaque; the fake writes zeros.
#[expect(clippy::too_many_arguments, reason = "the C function has that many")]
pub(crate) fn encode_tensor_map(
    _: &mut Locked,
    map: Out<[u64; 16]>,
    _element: u32,
    _rank: u32,
    _address: u64,
    _sizes: In<u64>,
    _strides: In<u64>,
    _box_sizes: In<u32>,
    _element_strides: In<u32>,
    _interleave: u32,
    _swizzle: u32,
    _promotion: u32,
    _fill: u32,
) -> Result {
    map.set([0; 16])
}

/// `cuTensorMapEncodeIm2col`: as above.
#[expect(clippy::too_many_arguments, reason = "the C function has that many")]
pub(crate) fn encode_im2col_map(
    _: &mut Locked,
    map: Out<[u64; 16]>,
    _element: u32,
    _rank: u32,
    _address: u64,
    _sizes: In<u64>,
    _strides: In<u64>,
    _lower: In<i32>,
    _upper: In<i32>,
    _channels: u32,
    _pixels: u32,
    _element_strides: In<u32>,
    _interleave: u32,
    _swizzle: u32,
    _promotion: u32,
    _fill: u32,
) -> Result {
    map.set([0; 16])
}
