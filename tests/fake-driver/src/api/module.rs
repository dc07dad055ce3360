//! Modules, functions, and the linker that turns PTX into something to be loaded
//! again.

use std::sync::Arc;

use crate::handles::{
    Handle, INVALID_HANDLE, INVALID_IMAGE, INVALID_PTX, INVALID_VALUE, In, Kind, NOT_FOUND, Out,
    Result, Text,
};
use crate::memory::Origin;
use crate::objects::{Function, Link, Module, launch_of};
use crate::ptx;
use crate::work::Launch;
use crate::world::{Locked, World};

/// Bytes of an ELF64 header, and of a section's.
const ELF_HEADER: usize = 64;

/// An ELF image with the PTX text as its one section: what the fake's linker makes
/// and its loader reads.
fn image_of(text: &str) -> Vec<u8> {
    let mut image = vec![0u8; ELF_HEADER];
    image[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let table = (ELF_HEADER + text.len()) as u64;
    image[40..48].copy_from_slice(&table.to_le_bytes());
    image[58] = ELF_HEADER as u8;
    image[60] = 1;
    image.extend(text.as_bytes());
    let mut section = [0u8; ELF_HEADER];
    section[4] = 1;
    section[24..32].copy_from_slice(&(ELF_HEADER as u64).to_le_bytes());
    section[32..40].copy_from_slice(&(text.len() as u64).to_le_bytes());
    image.extend(section);
    image
}

/// The PTX text of what `cuModuleLoadDataEx` is given.
fn text_of(image: *const u8) -> Result<String> {
    let start = In(image.cast::<[u8; 4]>()).get()?;
    if start != *b"\x7fELF" {
        // SAFETY: the contract of the C function: PTX ends with a zero.
        let text = unsafe { std::ffi::CStr::from_ptr(image.cast()) };
        return Ok(text.to_string_lossy().into_owned());
    }
    let number = |at: usize| In(image.wrapping_add(at).cast::<u64>()).get();
    let table = number(40)? as usize;
    let (offset, bytes) = (number(table + 24)? as usize, number(table + 32)? as usize);
    if offset != ELF_HEADER || table != offset + bytes {
        return Err(INVALID_IMAGE);
    }
    let text = In(image.wrapping_add(offset)).list(bytes)?;
    String::from_utf8(text).map_err(|_| INVALID_IMAGE)
}

pub(crate) fn load(
    world: &mut Locked,
    module: Out<Handle>,
    image: *const u8,
    _len: u32,
    _options: u64,
    _values: u64,
) -> Result {
    let place = world.place()?;
    let contents = ptx::read(&text_of(image)?).ok_or(INVALID_PTX)?;
    let handle = world.handle(Kind::Module);
    let mut globals = Vec::new();
    for (name, bytes) in contents.globals {
        let address = world.memory.add_device(place, Origin::Global, bytes, 0);
        let start = crate::memory::Span { address, bytes, is_write: true };
        if let Ok(memory) = world.memory.touch(start) {
            // SAFETY: the variable has that many bytes; variables begin as zeros.
            unsafe { memory.write_bytes(0, bytes as usize) };
        }
        globals.push((name, address, bytes));
    }
    let mut functions = Vec::new();
    for entry in contents.entries {
        let function = world.handle(Kind::Function);
        functions.push((entry.name.clone(), function));
        let new = Function {
            context: place.1,
            name: Arc::from(entry.name),
            params: entry.params,
            attributes: Vec::new(),
        };
        world.functions.insert(function, new);
    }
    world.modules.insert(handle, Module { context: place.1, functions, globals });
    module.set(handle)
}

/// Waits for the device, as the driver does before it gives device memory back.
pub(crate) fn unload(world: &mut Locked, module: Handle) -> Result {
    let _ = super::device::synchronize(world);
    let found = world.modules.remove(&module);
    let module = world.check(found, module)?;
    for (_, function) in module.functions {
        world.functions.remove(&function);
    }
    for (_, address, _) in module.globals {
        world.memory.remove(address);
    }
    Ok(())
}

pub(crate) fn function(
    world: &mut Locked,
    function: Out<Handle>,
    module: Handle,
    name: Text,
) -> Result {
    world.current()?;
    let name = name.get()?;
    let Some(module) = world.modules.get(&module) else { return Err(INVALID_HANDLE) };
    let found = module.functions.iter().find(|entry| entry.0 == name);
    function.set(found.ok_or(NOT_FOUND)?.1)
}

pub(crate) fn global(
    world: &mut Locked,
    address: Out<u64>,
    bytes: Out<usize>,
    module: Handle,
    name: Text,
) -> Result {
    world.current()?;
    let name = name.get()?;
    let Some(module) = world.modules.get(&module) else { return Err(INVALID_HANDLE) };
    let found = module.globals.iter().find(|entry| entry.0 == name).ok_or(NOT_FOUND)?;
    address.set_if(found.1);
    bytes.set_if(found.2 as usize);
    Ok(())
}

pub(crate) fn function_attribute(
    world: &mut Locked,
    value: Out<i32>,
    attribute: u32,
    function: Handle,
) -> Result {
    world.current()?;
    let Some(function) = world.functions.get(&function) else { return Err(INVALID_HANDLE) };
    let set = function.attributes.iter().rev().find(|entry| entry.0 == attribute);
    value.set(match (set, attribute) {
        (Some(entry), _) => entry.1,
        (None, 0) => 1024,
        (None, 4) => 32,
        (None, 5 | 6) => 90,
        (None, 8) => 49_152,
        (None, 0..=15) => 0,
        _ => return Err(INVALID_VALUE),
    })
}

pub(crate) fn set_function_attribute(
    world: &mut Locked,
    function: Handle,
    attribute: u32,
    value: i32,
) -> Result {
    world.current()?;
    let Some(function) = world.functions.get_mut(&function) else { return Err(INVALID_HANDLE) };
    function.attributes.push((attribute, value));
    Ok(())
}

pub(crate) fn occupancy(
    world: &mut Locked,
    blocks: Out<i32>,
    _function: Handle,
    threads: i32,
    _shared_bytes: usize,
) -> Result {
    world.current()?;
    blocks.set(2048 / threads.max(1))
}

pub(crate) fn param_info(
    world: &mut Locked,
    function: Handle,
    index: usize,
    offset: Out<usize>,
    bytes: Out<usize>,
) -> Result {
    world.current()?;
    let Some(function) = world.functions.get(&function) else { return Err(INVALID_HANDLE) };
    let &(at, size) = function.params.get(index).ok_or(INVALID_VALUE)?;
    offset.set_if(at);
    bytes.set_if(size);
    Ok(())
}

pub(crate) fn link_create(
    world: &mut Locked,
    _len: u32,
    _options: u64,
    _values: u64,
    link: Out<Handle>,
) -> Result {
    world.current()?;
    let handle = world.handle(Kind::Link);
    world.links.insert(handle, Link::default());
    link.set(handle)
}

pub(crate) fn link_add(
    world: &mut Locked,
    link: Handle,
    _kind: u32,
    data: In<u8>,
    bytes: usize,
    _name: Text,
    _len: u32,
    _options: u64,
    _values: u64,
) -> Result {
    world.current()?;
    let text = String::from_utf8_lossy(&data.list(bytes.saturating_sub(1))?).into_owned();
    let Some(link) = world.links.get_mut(&link) else { return Err(INVALID_HANDLE) };
    if ptx::read(&text).is_none() {
        return Err(INVALID_PTX);
    }
    link.text.push_str(&text);
    Ok(())
}

pub(crate) fn link_complete(
    world: &mut Locked,
    link: Handle,
    image: Out<u64>,
    bytes: Out<usize>,
) -> Result {
    world.current()?;
    let Some(link) = world.links.get_mut(&link) else { return Err(INVALID_HANDLE) };
    link.image = image_of(&link.text);
    bytes.set(link.image.len())?;
    image.set(link.image.as_ptr().expose_provenance() as u64)
}

pub(crate) fn link_destroy(world: &mut Locked, link: Handle) -> Result {
    let found = world.links.remove(&link);
    world.check(found, link).map(|_| ())
}

impl World {
    /// A launch of a function with the values that `params` points to.
    pub(crate) fn bind(
        &mut self,
        handle: Handle,
        grid: [u32; 3],
        block: [u32; 3],
        params: In<In<u8>>,
    ) -> Result<Launch> {
        let context = self.current()?;
        let Some(function) = self.functions.get(&handle) else {
            return self.check(None, handle);
        };
        if function.context != context {
            return Err(INVALID_HANDLE);
        }
        let threads = block.iter().map(|&size| u64::from(size)).product::<u64>();
        if grid.contains(&0) || threads == 0 || threads > 1024 {
            return Err(INVALID_VALUE);
        }
        let bytes = function.params.last().map_or(0, |&(offset, bytes)| offset + bytes);
        let mut block = vec![0u8; bytes];
        for (index, &(offset, bytes)) in function.params.iter().enumerate() {
            let value = params.at(index)?.list(bytes)?;
            block[offset..offset + bytes].copy_from_slice(&value);
        }
        Ok(launch_of(handle, function, block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_hold_their_text() {
        let text = ".version 7.0 .entry k() { ret; }";
        assert_eq!(text_of(image_of(text).as_ptr()).unwrap(), text);
        assert_eq!(text_of(c"plain".as_ptr().cast()).unwrap(), "plain");
    }
}
