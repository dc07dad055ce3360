//! What the memory profile says.

use super::site::{self, Counts};
use super::stack::Stack;
use super::{MemoryKind, MemoryProfileMode, memory_profile_mode, pprof, text};
use crate::device::{Device, DeviceKind};
use crate::pool::{Holder, MemoryUse};

/// The memory of this process on all devices, by the places that allocated it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MemoryProfile {
    /// What is recorded at present. Unless it was [`MemoryProfileMode::Full`] from
    /// the start, the entries are estimates.
    pub mode: MemoryProfileMode,
    /// The places, those that hold most first.
    pub entries: Vec<ProfileEntry>,
    /// How the memory of each open device is used: exact in every mode.
    pub devices: Vec<(DeviceKind, MemoryUse)>,
    /// Bytes of pinned, mapped and managed memory that the program holds: exact in
    /// every mode.
    pub host_bytes: u64,
}

/// Allocations of one sort from one place.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProfileEntry {
    /// The calls that led to the allocations.
    pub stack: Stack,
    /// What sort of memory it is.
    pub kind: MemoryKind,
    /// The device that has the memory, or for which it was allocated.
    pub device: DeviceKind,
    /// Number of the stream it was allocated on; 0 for memory of no stream.
    pub stream: u16,
    /// The kernel launched last on that stream before; empty if there was none.
    pub kernel: &'static str,
    /// Bytes held.
    pub held_bytes: u64,
    /// Allocations held.
    pub held: u64,
    /// Most bytes held at once.
    pub held_bytes_max: u64,
    /// Bytes of all allocations so far.
    pub made_bytes: u64,
    /// Number of all allocations so far.
    pub made: u64,
}

impl MemoryProfile {
    /// The profile as it is now.
    #[must_use]
    pub fn now() -> Self {
        let mut entries: Vec<ProfileEntry> = site::all().into_iter().map(entry).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.held_bytes, entry.made_bytes)));
        let devices = Device::open_ones();
        Self {
            mode: memory_profile_mode(),
            entries,
            devices: devices.iter().map(|device| (device.kind(), device.memory_use())).collect(),
            host_bytes: crate::shelf::held_bytes(),
        }
    }

    /// Bytes that the program holds, of all kinds: exact in every mode.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.devices.iter().map(|(_, usage)| usage.live_bytes).sum::<u64>() + self.host_bytes
    }

    /// A table for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        text::write(self)
    }

    /// A profile for pprof: a gzipped protobuf with the sample types
    /// `alloc_objects`, `alloc_space`, `inuse_objects` and `inuse_space`, and
    /// labels for device, kind, stream and kernel.
    ///
    /// *Source:* `profile.proto` of `github.com/google/pprof`.
    #[must_use]
    pub fn to_pprof(&self) -> Vec<u8> {
        pprof::write(self)
    }
}

fn entry(site: &'static site::Site) -> ProfileEntry {
    let Counts { made_bytes, made, held_bytes, held, held_bytes_max } = site.counts();
    let labels = site.labels;
    ProfileEntry {
        stack: site.stack,
        kind: labels.kind,
        device: labels.device,
        stream: labels.stream.0,
        kernel: site.kernel_name(),
        held_bytes,
        held,
        held_bytes_max,
        made_bytes,
        made,
    }
}

/// The places that hold most of a device's memory.
pub(crate) fn holders(device: DeviceKind, len_max: usize) -> Vec<Holder> {
    let on_device = site::all()
        .into_iter()
        .filter(|site| site.labels.device == device && site.labels.kind == MemoryKind::Device);
    let mut holders: Vec<Holder> = on_device
        .map(|site| (site.stack, site.counts()))
        .filter(|(_, counts)| counts.held_bytes > 0)
        .map(|(stack, counts)| Holder {
            bytes: counts.held_bytes,
            buffers: counts.held.max(1),
            stack,
        })
        .collect();
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
    holders.truncate(len_max);
    holders
}
