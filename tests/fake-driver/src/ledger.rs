//! What is alive, and the faults and panics that kernels are told to have.

use std::fmt::Write;

use crate::handles::{Code, Handle};
use crate::memory::{Origin, Span};
use crate::objects::Mark;
use crate::world::World;

/// What a panic slot of a module holds: whether it is claimed, padding, and the
/// address of the record.
const SLOT_NAME: &str = "__raddle_panic_slot";

impl World {
    /// Lines `name count` of what is alive on a device, or on all.
    pub(crate) fn ledger(&self, device: Option<i32>) -> String {
        let is_meant = |context: Handle| {
            let found = self.contexts.get(&context).map(|context| context.device);
            device.is_none() || device == found
        };
        let streams = self.slots.values().map(|&slot| self.streams[slot].context);
        let functions = self.modules.values().map(|module| module.context);
        let mut rows: Vec<(&str, u64)> = Vec::new();
        let count = |contexts: &mut dyn Iterator<Item = Handle>| {
            contexts.filter(|&context| is_meant(context)).count() as u64
        };
        rows.push(("contexts", count(&mut self.contexts.keys().copied())));
        rows.push(("streams", count(&mut streams.into_iter())));
        rows.push(("events", count(&mut self.events.values().map(|event| event.context))));
        rows.push(("modules", count(&mut functions.into_iter())));
        let pools = self.pools.values().filter(|pool| !pool.is_destroyed);
        rows.push(("pools", count(&mut pools.map(|pool| pool.context))));
        rows.push(("physical", count(&mut self.physical.values().map(|p| p.context))));
        rows.push(("execs", count(&mut self.execs.values().map(|exec| exec.context))));
        rows.push(("graphs", self.graphs.len() as u64));
        rows.push(("links", self.links.len() as u64));
        self.add_ranges(&mut rows, &is_meant);
        let work = self.streams.iter().filter(|stream| is_meant(stream.context));
        rows.push(("queued", work.map(|stream| stream.queue.len() as u64).sum()));
        let used = self.used.iter().filter(|(on, _)| device.is_none_or(|device| device == **on));
        rows.push(("used_bytes", used.map(|(_, bytes)| bytes).sum()));
        let mut text = String::new();
        for (name, value) in rows {
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }

    fn add_ranges(&self, rows: &mut Vec<(&'static str, u64)>, is_meant: &dyn Fn(Handle) -> bool) {
        type Kind = (&'static str, &'static str, fn(Origin) -> bool);
        let kinds: [Kind; 4] = [
            ("allocations", "allocated_bytes", |origin| {
                matches!(origin, Origin::Plain | Origin::Pooled(_))
            }),
            ("pinned", "pinned_bytes", |origin| {
                matches!(origin, Origin::Pinned | Origin::Registered)
            }),
            ("managed", "managed_bytes", |origin| origin == Origin::Managed),
            ("reserved", "reserved_bytes", |origin| origin == Origin::Reserved),
        ];
        for (name, bytes_name, is_kind) in kinds {
            let of_kind =
                || self.memory.iter().filter(|r| is_kind(r.origin) && is_meant(r.context));
            rows.push((name, of_kind().count() as u64));
            rows.push((bytes_name, of_kind().map(|range| range.bytes).sum()));
        }
        let reserved = self.memory.iter().filter(|r| is_meant(r.context));
        let mapped = reserved.flat_map(|range| range.mapped.values());
        rows.push(("mapped_bytes", mapped.map(|mapping| mapping.bytes).sum()));
    }

    /// The fault that the next launch of a kernel is to have.
    pub(crate) fn take_kernel_fault(&mut self, name: &str) -> Option<Code> {
        let at = self.kernel_faults.iter_mut().position(|(kernel, pass, _)| {
            kernel == name && {
                let is_now = *pass == 0;
                *pass = pass.saturating_sub(1);
                is_now
            }
        })?;
        Some(self.kernel_faults.remove(at).2)
    }

    /// The record of the panic that the next launch of a kernel is to have.
    pub(crate) fn take_kernel_panic(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.kernel_panics.iter_mut().position(|(kernel, pass, _)| {
            kernel == name && {
                let is_now = *pass == 0;
                *pass = pass.saturating_sub(1);
                is_now
            }
        })?;
        Some(self.kernel_panics.remove(at).2)
    }

    /// Leaves a panic's record as a device thread would: claims the module's slot
    /// and writes the record, its first word last.
    pub(crate) fn write_panic(&mut self, function: Handle, record: &[u8]) {
        let module = self.functions.get(&function).map(|function| function.module);
        let module = module.and_then(|module| self.modules.get(&module));
        let slot = module.and_then(|m| m.globals.iter().find(|global| global.0 == SLOT_NAME));
        let Some(&(_, address, _)) = slot else { return };
        let span = |address, bytes, is_write| Span { address, bytes, is_write };
        let Ok(slot) = self.memory.touch(span(address, 16, true)) else { return };
        // SAFETY: the slot has 16 bytes.
        let claimed = unsafe { slot.cast::<u32>().read_unaligned() };
        // SAFETY: as above.
        let target = unsafe { slot.add(8).cast::<u64>().read_unaligned() };
        if claimed != 0 || target == 0 {
            return;
        }
        // SAFETY: as above.
        unsafe { slot.cast::<u32>().write_unaligned(1) };
        match self.memory.touch(span(target, record.len() as u64, true)) {
            Ok(page) => {
                // SAFETY: live memory of the record's length; the host reads the
                // first word alone until it is set.
                unsafe { page.add(4).copy_from(record[4..].as_ptr(), record.len() - 4) };
                // SAFETY: as above; records are aligned to their first word.
                unsafe { page.cast::<u32>().write_volatile(1) };
            }
            Err(problem) => self.violate(format!("a panic record: {problem}")),
        }
    }

    /// Reaches an event's place in its stream.
    pub(crate) fn perform_mark(&mut self, event: Handle, number: u64) {
        let now = self.clock_ns;
        if let Some(event) = self.events.get_mut(&event)
            && matches!(event.mark, Mark::Stream { number: marked, .. } if marked == number)
        {
            event.reached_ns = Some(now);
        }
    }

    /// Reaches the free of pool memory.
    pub(crate) fn perform_free(&mut self, address: u64) {
        let Some(range) = self.memory.remove(address) else {
            return self.violate(format!("{address:#x} was freed twice"));
        };
        if let Origin::Pooled(pool) = range.origin {
            self.return_to_pool(pool, range.bytes);
        }
    }
}
