//! Shared memory of the blocks of a cluster.
//!
//! Each block has one arena: dynamic shared memory at offset 0, behind it the
//! static variables in the order in which the kernel first names them. All
//! blocks of a cluster use one table of offsets, so that an address means the
//! same variable in every block (`mapa`). Each block starts with memory full of
//! [`POISON`], since the GPU gives no promise about it and a read of an
//! uninitialised variable should show.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};

use raddle_device::host::SharedKey;

use crate::fault::SharedMisuse;

/// What each byte of shared memory holds before the kernel writes it.
pub const POISON: u8 = 0xCD;

/// Shared memory that a block may use, static and dynamic together (sm_90).
pub const SHARED_BYTES_MAX: usize = 227 * 1024;

/// The shared memory of one cluster at a time.
pub(crate) struct SharedMemory {
    arenas: Box<[Cell<*mut u8>]>,
    variables: RefCell<Vec<Variable>>,
    dynamic_bytes: usize,
    used_bytes: Cell<usize>,
}

struct Variable {
    key: SharedKey,
    offset: usize,
    bytes: usize,
}

impl SharedMemory {
    /// Memory for clusters of `blocks` blocks. The size has been checked.
    pub fn new(blocks: u32, dynamic_bytes: usize) -> Self {
        debug_assert!(check_size(dynamic_bytes).is_ok());
        Self {
            arenas: (0..blocks).map(|_| Cell::new(std::ptr::null_mut())).collect(),
            variables: RefCell::default(),
            dynamic_bytes,
            used_bytes: Cell::new(dynamic_bytes),
        }
    }

    /// Poisons everything for the next cluster.
    pub fn reset(&self) {
        self.poison(0, self.used_bytes.get());
    }

    /// Address of the static variable `key` in the block of rank `rank`.
    pub fn variable(
        &self,
        rank: u32,
        key: SharedKey,
        bytes: usize,
        align: usize,
    ) -> Result<*mut u8, SharedMisuse> {
        let known = {
            let variables = self.variables.borrow();
            let is_same = |variable: &&Variable| is_identical(&variable.key, &key);
            let is_equal = |variable: &&Variable| variable.key == key;
            let found = variables.iter().find(is_same).or_else(|| variables.iter().find(is_equal));
            found.map(|variable| (variable.offset, variable.bytes))
        };
        let offset = match known {
            Some((offset, first_bytes)) if first_bytes == bytes => offset,
            Some((_, first_bytes)) => {
                return Err(SharedMisuse::Redefined { site: key.site, first_bytes, bytes });
            }
            None => self.define(key, bytes, align)?,
        };
        // SAFETY: offsets of variables lie within the arena.
        Ok(unsafe { self.arena(rank).add(offset) })
    }

    /// Dynamic shared memory of the block of rank `rank`.
    pub fn dynamic(&self, rank: u32) -> (*mut u8, usize) {
        (self.arena(rank), self.dynamic_bytes)
    }

    /// The address in block `to` that corresponds to `address` in block `from`.
    pub fn map(&self, from: u32, address: *mut u8, to: u32) -> Result<*mut u8, SharedMisuse> {
        let blocks = self.arenas.len() as u32;
        if to >= blocks {
            return Err(SharedMisuse::Rank { found: to, blocks });
        }
        let offset = (address as usize).wrapping_sub(self.arena(from) as usize);
        if offset >= SHARED_BYTES_MAX {
            return Err(SharedMisuse::NotShared);
        }
        // SAFETY: the offset is below the arena's size.
        Ok(unsafe { self.arena(to).add(offset) })
    }

    #[cold]
    fn define(&self, key: SharedKey, bytes: usize, align: usize) -> Result<usize, SharedMisuse> {
        if !align.is_power_of_two() || align > ARENA_ALIGN {
            return Err(SharedMisuse::Alignment { found: align });
        }
        let offset = self.used_bytes.get().next_multiple_of(align.max(VARIABLE_ALIGN));
        let end = offset.saturating_add(bytes);
        check_size(end)?;
        self.used_bytes.set(end);
        self.poison(offset, end);
        self.variables.borrow_mut().push(Variable { key, offset, bytes });
        Ok(offset)
    }

    fn arena(&self, rank: u32) -> *mut u8 {
        let arena = self.arenas[rank as usize].get();
        if arena.is_null() { self.allocate(rank) } else { arena }
    }

    #[cold]
    fn allocate(&self, rank: u32) -> *mut u8 {
        // SAFETY: the layout has a size.
        let arena = unsafe { alloc(ARENA) };
        if arena.is_null() {
            handle_alloc_error(ARENA);
        }
        self.arenas[rank as usize].set(arena);
        // SAFETY: `used_bytes` never exceeds the arena.
        unsafe { arena.write_bytes(POISON, self.used_bytes.get()) };
        arena
    }

    fn poison(&self, start: usize, end: usize) {
        for arena in self.arenas.iter().map(Cell::get).filter(|arena| !arena.is_null()) {
            // SAFETY: callers pass offsets up to `used_bytes`, within the arena.
            unsafe { arena.add(start).write_bytes(POISON, end - start) };
        }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        for arena in self.arenas.iter().map(Cell::get).filter(|arena| !arena.is_null()) {
            // SAFETY: allocated with this layout, and no thread uses it any more.
            unsafe { dealloc(arena, ARENA) };
        }
    }
}

/// Whether two keys are the same strings in memory: the usual case, since a
/// variable's accesses stand in one place.
fn is_identical(a: &SharedKey, b: &SharedKey) -> bool {
    std::ptr::eq(a.site, b.site) && std::ptr::eq(a.instance, b.instance)
}

/// Whether a block may use so many bytes.
pub(crate) fn check_size(bytes: usize) -> Result<(), SharedMisuse> {
    if bytes <= SHARED_BYTES_MAX {
        Ok(())
    } else {
        Err(SharedMisuse::TooLarge { bytes, limit_bytes: SHARED_BYTES_MAX })
    }
}

/// Alignment of arenas: the largest that TMA's swizzles ask for.
const ARENA_ALIGN: usize = 1024;
/// Least alignment of a static variable.
const VARIABLE_ALIGN: usize = 128;
const ARENA: Layout = match Layout::from_size_align(SHARED_BYTES_MAX, ARENA_ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("the arena's layout is a constant"),
};

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SharedKey = SharedKey { site: "k.rs:1:1", instance: "f32" };

    #[test]
    fn variables_are_found_again_and_apart() {
        let memory = SharedMemory::new(2, 100);
        let first = memory.variable(0, KEY, 64, 4).unwrap();
        assert_eq!(memory.variable(0, KEY, 64, 4), Ok(first));
        let moved = SharedKey { site: String::from(KEY.site).leak(), instance: KEY.instance };
        assert_eq!(memory.variable(0, moved, 64, 4), Ok(first), "equal by content");
        let other = memory.variable(0, SharedKey { instance: "f64", ..KEY }, 8, 8).unwrap();
        assert!(other as usize >= first as usize + 64);
        assert_eq!(first as usize % VARIABLE_ALIGN, 0);
        let elsewhere = memory.variable(1, KEY, 64, 4).unwrap();
        assert_ne!(elsewhere, first);
        assert_eq!(memory.map(0, first, 1), Ok(elsewhere));
    }

    #[test]
    fn memory_is_poisoned_for_each_cluster() {
        let memory = SharedMemory::new(1, 16);
        let variable = memory.variable(0, KEY, 4, 4).unwrap();
        let dynamic = memory.dynamic(0).0;
        // SAFETY: both point to live bytes of the arena.
        let read = || unsafe { (variable.read(), dynamic.read()) };
        assert_eq!(read(), (POISON, POISON));
        // SAFETY: as above.
        unsafe {
            variable.write(1);
            dynamic.write(2);
        }
        assert_eq!(read(), (1, 2));
        memory.reset();
        assert_eq!(read(), (POISON, POISON));
    }

    #[test]
    fn limits_hold() {
        let too_large = |bytes| SharedMisuse::TooLarge { bytes, limit_bytes: SHARED_BYTES_MAX };
        let bytes = SHARED_BYTES_MAX + 1;
        assert_eq!(check_size(bytes), Err(too_large(bytes)));
        let memory = SharedMemory::new(1, SHARED_BYTES_MAX - 128);
        assert!(memory.variable(0, KEY, 128, 1).is_ok());
        let other = SharedKey { instance: "u8", ..KEY };
        assert_eq!(memory.variable(0, other, 1, 1), Err(too_large(SHARED_BYTES_MAX + 1)));
        assert_eq!(
            memory.variable(0, KEY, 64, 1),
            Err(SharedMisuse::Redefined { site: KEY.site, first_bytes: 128, bytes: 64 })
        );
        let outside = std::ptr::dangling_mut();
        assert_eq!(memory.map(0, outside, 0), Err(SharedMisuse::NotShared));
        assert_eq!(memory.map(0, outside, 1), Err(SharedMisuse::Rank { found: 1, blocks: 1 }));
        assert_eq!(memory.variable(0, other, 1, 3), Err(SharedMisuse::Alignment { found: 3 }));
    }
}
