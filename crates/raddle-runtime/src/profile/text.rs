//! The memory profile as a table for people.

use std::fmt::Write;

use super::{MemoryProfile, MemoryProfileMode, ProfileEntry};

/// Writes the table.
pub(super) fn write(profile: &MemoryProfile) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", summary(profile));
    for (device, usage) in &profile.devices {
        let served = usage.hits + usage.misses;
        let hit_percent = 100.0 * usage.hits as f64 / served.max(1) as f64;
        let _ = writeln!(
            text,
            "{device}: {} live in {} blocks (peak {}), {} reserved (peak {}), {served} allocations, \
             {hit_percent:.1} % from a stream's cache, {} growths, {} waits on the device, {} on the host",
            size(usage.live_bytes),
            usage.live_blocks,
            size(usage.live_bytes_max),
            size(usage.reserved_bytes),
            size(usage.reserved_bytes_max),
            usage.growths,
            usage.device_waits,
            usage.host_waits,
        );
    }
    let held = profile.entries.iter().filter(|entry| entry.held_bytes > 0);
    for entry in held.take(ENTRIES_SHOWN) {
        write_entry(&mut text, entry);
    }
    let hidden = profile.entries.iter().filter(|entry| entry.held_bytes > 0).count();
    if hidden > ENTRIES_SHOWN {
        let _ = writeln!(text, "\nand {} places that hold less", hidden - ENTRIES_SHOWN);
    }
    text
}

/// One line: how much is held.
fn summary(profile: &MemoryProfile) -> String {
    let exactness = match profile.mode {
        MemoryProfileMode::Full => "",
        MemoryProfileMode::Sampled => " (places are estimates from samples)",
        MemoryProfileMode::Off => " (places are not recorded)",
    };
    match profile.held_bytes() {
        0 => "0 bytes held".to_owned(),
        bytes => format!("{bytes} bytes held{exactness}"),
    }
}

fn write_entry(text: &mut String, entry: &ProfileEntry) {
    let kernel = match entry.kernel {
        "" => String::new(),
        kernel => format!(", after kernel {kernel}"),
    };
    let stream = match entry.stream {
        0 => String::new(),
        stream => format!(", stream {stream}"),
    };
    let _ = writeln!(
        text,
        "\n{} in {} allocations (peak {}; {} allocations so far): {} memory of {}{stream}{kernel}",
        size(entry.held_bytes),
        entry.held,
        size(entry.held_bytes_max),
        entry.made,
        entry.kind.name(),
        entry.device,
    );
    for frame in entry.stack.frames().iter().take(FRAMES_SHOWN) {
        let _ = writeln!(text, "    {frame}");
    }
}

/// A number of bytes for people.
fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >= 1 << shift {
            return format!("{:.1} {unit}", bytes as f64 / (1u64 << shift) as f64);
        }
    }
    format!("{bytes} B")
}

const ENTRIES_SHOWN: usize = 50;
const FRAMES_SHOWN: usize = 24;
