//! Places in the program that allocate, with counters of what they hold.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use raddle_device::kernel::Kernel;

use super::stack::Stack;
use crate::device::DeviceKind;
use crate::sync::lock;
use crate::timeline::StreamId;

/// What sort of memory an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryKind {
    /// A buffer's, on the device.
    Device,
    /// Pinned memory of the host.
    Pinned,
    /// Memory of the host that the device reaches.
    Mapped,
    /// Memory that the driver moves between host and device.
    Managed,
}

impl MemoryKind {
    /// The kind in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Pinned => "pinned",
            Self::Mapped => "mapped",
            Self::Managed => "managed",
        }
    }
}

/// What tells allocations with one stack apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) kind: MemoryKind,
    pub(crate) device: DeviceKind,
    pub(crate) stream: StreamId,
    /// Exposed address of the kernel's description, or 0.
    pub(crate) kernel: usize,
}

/// One place: a stack with labels.
pub(crate) struct Site {
    pub(crate) stack: Stack,
    pub(crate) labels: Labels,
    made_bytes: AtomicU64,
    made_parts: AtomicU64,
    gone_bytes: AtomicU64,
    gone_parts: AtomicU64,
    held_bytes_max: AtomicU64,
}

/// The counters of a site. Estimates if the profile samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) made_bytes: u64,
    pub(crate) made: u64,
    pub(crate) held_bytes: u64,
    pub(crate) held: u64,
    pub(crate) held_bytes_max: u64,
}

/// A sample may stand for a fraction more than a whole number of allocations.
const PARTS: f64 = 256.0;

fn weighted(bytes: u64, weight: f32) -> (u64, u64) {
    let weight = f64::from(weight);
    ((bytes as f64 * weight) as u64, (weight * PARTS) as u64)
}

impl Site {
    pub(crate) fn add(&self, bytes: u64, weight: f32) {
        let (bytes, parts) = weighted(bytes, weight);
        self.made_parts.fetch_add(parts, Ordering::Relaxed);
        let made = self.made_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let held = made.saturating_sub(self.gone_bytes.load(Ordering::Relaxed));
        if held > self.held_bytes_max.load(Ordering::Relaxed) {
            self.held_bytes_max.fetch_max(held, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove(&self, bytes: u64, weight: f32) {
        let (bytes, parts) = weighted(bytes, weight);
        self.gone_parts.fetch_add(parts, Ordering::Relaxed);
        self.gone_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The name of the kernel launched last before; empty if there was none.
    pub(crate) fn kernel_name(&self) -> &'static str {
        let kernel: *const Kernel = std::ptr::with_exposed_provenance(self.labels.kernel);
        // SAFETY: the labels hold no address but of a `&'static Kernel`, or null.
        unsafe { kernel.as_ref() }.map_or("", |kernel| kernel.name)
    }

    pub(crate) fn counts(&self) -> Counts {
        // What is gone is read first: an allocation that goes in between then
        // counts as held, and no counter becomes negative.
        let gone_bytes = self.gone_bytes.load(Ordering::Acquire);
        let gone = self.gone_parts.load(Ordering::Acquire);
        let made_bytes = self.made_bytes.load(Ordering::Acquire);
        let made = self.made_parts.load(Ordering::Acquire);
        let whole = |parts: u64| (parts as f64 / PARTS).round() as u64;
        Counts {
            made_bytes,
            made: whole(made),
            held_bytes: made_bytes.saturating_sub(gone_bytes),
            held: whole(made.saturating_sub(gone)),
            held_bytes_max: self.held_bytes_max.load(Ordering::Relaxed),
        }
    }
}

static SITES: Mutex<Vec<&'static Site>> = Mutex::new(Vec::new());

/// Every site so far.
pub(crate) fn all() -> Vec<&'static Site> {
    lock(&SITES).clone()
}

/// The site of a stack with these labels. Sites are kept for the process, since
/// allocations point to them; from a number that no program should reach on, there
/// are no new ones.
pub(crate) fn of(stack: Stack, labels: Labels) -> Option<&'static Site> {
    let mut sites = lock(stack.sites());
    if let Some(site) = sites.iter().find(|site| site.labels == labels) {
        return Some(site);
    }
    let mut all = lock(&SITES);
    if all.len() >= SITES_LEN_MAX {
        return None;
    }
    let site: &'static Site = Box::leak(Box::new(Site {
        stack,
        labels,
        made_bytes: AtomicU64::new(0),
        made_parts: AtomicU64::new(0),
        gone_bytes: AtomicU64::new(0),
        gone_parts: AtomicU64::new(0),
        held_bytes_max: AtomicU64::new(0),
    }));
    all.push(site);
    sites.push(site);
    Some(site)
}

const SITES_LEN_MAX: usize = 1 << 18;
