//! What is alive, and the faults and panics that kernels are told to have.

use std::fmt::Write;

use crate::handles::{Code, Handle};
use crate::memory::{Origin, Span};
use crate::objects::Mark;
use crate::work::Launch;
use crate::world::World;

/// Where a panic record (`raddle_device::kernel::PanicRecord`) has the launch's tag, the
/// latest tag, how often it was made ready and how often claimed.
const RECORD_TAG: usize = 776;
const RECORD_LAST: usize = 784;
const RECORD_ARMED: usize = 792;
const RECORD_CLAIMED: usize = 796;

/// Has the ledger written to the file that `RADDLE_FAKE_LEDGER` names when the process
/// ends: after what its users, who come later, do at exit.
pub(crate) fn write_at_exit() {
    unsafe extern "C" {
        fn atexit(callback: extern "C" fn()) -> std::ffi::c_int;
    }
    extern "C" fn write() {
        let Some(path) = std::env::var_os("RADDLE_FAKE_LEDGER") else { return };
        let mut world = crate::world::lock();
        let text = format!("{}violations {}\n", world.ledger(None), world.violations_len);
        let _ = std::fs::write(path, text);
        world.violations_len = 0;
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: the function takes no arguments and does not unwind.
        let _ = unsafe { atexit(write) };
    });
}

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

    /// Leaves a panic's record as a device thread would: claims the record that the
    /// launch's last but one parameter names and writes it, its first word last.
    pub(crate) fn write_panic(&mut self, launch: &Launch, record: &[u8]) {
        let Some((target, tag)) = self.panic_parameters(launch) else { return };
        let span = Span { address: target, bytes: record.len() as u64, is_write: true };
        let page = match self.memory.touch(span) {
            Ok(page) => page,
            Err(problem) => return self.violate(format!("a panic record: {problem}")),
        };
        // SAFETY: live memory of the record's length.
        let [last, armed, claimed] =
            [RECORD_LAST, RECORD_ARMED, RECORD_CLAIMED].map(|at| unsafe { page.add(at) });
        let last = last.cast::<u64>();
        // SAFETY: words of the record, which only devices write.
        if unsafe { last.read_volatile() } == tag {
            return;
        }
        // SAFETY: as above.
        unsafe { last.write_volatile(last.read_volatile().max(tag)) };
        // SAFETY: a word that the host writes whole.
        let armed = unsafe { armed.cast::<u32>().read_volatile() };
        // SAFETY: as above.
        if unsafe { claimed.cast::<u32>().read_volatile() } == armed {
            return;
        }
        // SAFETY: as above.
        unsafe { claimed.cast::<u32>().write_volatile(armed) };
        // SAFETY: live memory up to the record's tag; the host reads the first word
        // alone until it is set.
        unsafe { page.add(4).copy_from(record[4..].as_ptr(), RECORD_TAG - 4) };
        // SAFETY: as above.
        unsafe { page.add(RECORD_TAG).cast::<u64>().write_unaligned(tag) };
        // SAFETY: as above; records are aligned to their first word.
        unsafe { page.cast::<u32>().write_volatile(1) };
    }

    /// The record's address and the tag, if the kernel takes them after its block.
    fn panic_parameters(&self, launch: &Launch) -> Option<(u64, u64)> {
        let params = &self.functions.get(&launch.function)?.params;
        let [.., (record, 8), (tag, 8)] = params[..] else { return None };
        let word = |at: usize| Some(u64::from_ne_bytes(launch.params[at..at + 8].try_into().ok()?));
        word(record).filter(|&record| record != 0).zip(word(tag))
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
