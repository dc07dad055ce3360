//! Stacks of calls, as return addresses, and a fast way to get the one we are in.
//!
//! Unwinding takes microseconds. But a thread allocates at the same few places
//! again and again, with the stack pointer at the same height: the first time, the
//! places in memory where the return addresses lie are noted; the next time it is
//! enough to see that the same addresses still lie there. Where a frame's return
//! address lies follows from its code, so if all agree from the innermost on, it
//! is the same stack.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use super::site::{self, Labels, Site};
use crate::sync::lock;

/// A stack of calls. Addresses become names when they are asked for.
#[derive(Clone, Copy)]
pub struct Stack(&'static Known);

struct Known {
    /// Return addresses, innermost first.
    addresses: Box<[usize]>,
    sites: Mutex<Vec<&'static Site>>,
}

/// One call of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackFrame {
    /// The function's name; empty if the program does not say.
    pub function: String,
    /// The source file; empty if the program does not say.
    pub file: String,
    /// The line; 0 if the program does not say.
    pub line: u32,
    /// Where the call returns to.
    pub address: usize,
}

impl Stack {
    /// Return addresses, innermost first.
    #[must_use]
    pub fn addresses(&self) -> &[usize] {
        &self.0.addresses
    }

    /// The calls by name, innermost first; inlined ones are listed too. The
    /// innermost calls, those within this crate, are left out.
    #[must_use]
    pub fn frames(&self) -> Vec<StackFrame> {
        let all: Vec<_> = self.0.addresses.iter().flat_map(|&address| resolve(address)).collect();
        let first = all.iter().position(|frame| !frame.is_own()).unwrap_or(0);
        all[first..].to_vec()
    }

    /// The addresses without those that stand for calls within this crate alone.
    pub(super) fn outer_addresses(&self) -> &[usize] {
        let is_own = |&address: &usize| resolve(address).iter().all(StackFrame::is_own);
        let first = self.0.addresses.iter().position(|address| !is_own(address)).unwrap_or(0);
        &self.0.addresses[first..]
    }

    pub(super) fn sites(&self) -> &Mutex<Vec<&'static Site>> {
        &self.0.sites
    }

    /// The one stack with these addresses.
    fn of(addresses: &[usize]) -> Option<Self> {
        let mut known = lock(&KNOWN);
        let known = known.get_or_insert_default();
        if let Some(stack) = known.get(addresses) {
            return Some(Self(stack));
        }
        if known.len() >= STACKS_LEN_MAX {
            return None;
        }
        let stack: &'static Known =
            Box::leak(Box::new(Known { addresses: addresses.into(), sites: Mutex::default() }));
        known.insert(&stack.addresses, stack);
        Some(Self(stack))
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stack({} calls)", self.0.addresses.len())
    }
}

impl StackFrame {
    /// Whether it is a call within this crate, on the way to an allocation.
    fn is_own(&self) -> bool {
        let name = self.function.trim_start_matches('<');
        OWN.iter().any(|prefix| name.starts_with(prefix)) && !name.contains("::tests::")
    }
}

impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, file, line, address } = self;
        if function.is_empty() {
            return write!(f, "{address:#x}");
        }
        write!(f, "{function}")?;
        if file.is_empty() { Ok(()) } else { write!(f, " at {file}:{line}") }
    }
}

/// The calls that one return address stands for: with inlining, several.
pub(super) fn resolve(address: usize) -> Vec<StackFrame> {
    let mut frames = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        let function = symbol.name().map(|name| format!("{name:#}"));
        let file = symbol.filename().map(|file| file.display().to_string());
        frames.push(StackFrame {
            function: function.unwrap_or_default(),
            file: file.unwrap_or_default(),
            line: symbol.lineno().unwrap_or(0),
            address,
        });
    });
    if frames.is_empty() {
        let (function, file) = (String::new(), String::new());
        frames.push(StackFrame { function, file, line: 0, address });
    }
    frames
}

static KNOWN: Mutex<Option<HashMap<&'static [usize], &'static Known>>> = Mutex::new(None);

/// The site of the calls that led here, with these labels.
#[inline(never)]
pub(super) fn site_here(labels: Labels) -> Option<&'static Site> {
    let anchor = 0u8;
    let anchor = std::ptr::from_ref(std::hint::black_box(&anchor)).addr();
    let found = RECENT.try_with(|recent| {
        // Borrowed already only if an unwinder allocates device memory.
        let mut recent = recent.try_borrow_mut().ok()?;
        let set = &mut recent.sets[(anchor >> 4) % SETS];
        let entry = match set.entries.iter().position(|entry| entry.is_here(anchor)) {
            Some(at) => &mut set.entries[at],
            None => set.insert(Entry::unwind(anchor)?),
        };
        entry.site(labels)
    });
    found.ok().flatten()
}

/// Stacks seen lately on one thread.
struct Recent {
    sets: [Set; SETS],
}

/// Those that begin at one place, more or less.
#[derive(Default)]
struct Set {
    entries: Vec<Entry>,
    next: usize,
}

struct Entry {
    /// The address of a variable of [`site_here`].
    anchor: usize,
    /// Where each return address lies; empty if that is not known, and the stack
    /// has to be unwound each time.
    slots: Box<[Slot]>,
    stack: Stack,
    /// The sites found last, since labels change seldom.
    sites: [Option<&'static Site>; 2],
}

#[derive(Clone, Copy)]
struct Slot {
    place: usize,
    address: usize,
}

thread_local! {
    static RECENT: RefCell<Recent> =
        RefCell::new(Recent { sets: std::array::from_fn(|_| Set::default()) });
}

impl Set {
    fn insert(&mut self, entry: Entry) -> &mut Entry {
        if self.entries.len() < WAYS {
            self.entries.push(entry);
            return self.entries.last_mut().expect("just pushed");
        }
        self.next = (self.next + 1) % WAYS;
        self.entries[self.next] = entry;
        &mut self.entries[self.next]
    }
}

impl Entry {
    /// Whether the thread is in this stack now.
    fn is_here(&self, anchor: usize) -> bool {
        anchor == self.anchor
            && !self.slots.is_empty()
            && self.slots.iter().all(|slot| {
                let place: *const usize = std::ptr::with_exposed_provenance(slot.place);
                // SAFETY: the places lie above the anchor in this thread's stack,
                // in frames that are live: the innermost is our own, and each
                // address that agrees says whose frame the next place is in.
                let found = unsafe { place.read_volatile() };
                found == slot.address
            })
    }

    fn unwind(anchor: usize) -> Option<Self> {
        let mut addresses = Vec::with_capacity(64);
        let mut slots = Vec::with_capacity(64);
        backtrace::trace(|frame| {
            let (ip, sp) = (frame.ip().addr(), frame.sp().addr());
            // Frames below the anchor are those of the unwinder.
            if ip == 0 || sp <= anchor {
                return ip != 0;
            }
            addresses.push(ip);
            slots.push(Slot { place: sp.wrapping_sub(size_of::<usize>()), address: ip });
            addresses.len() < FRAMES_MAX
        });
        let stack = Stack::of(&addresses)?;
        if !slots.iter().all(|slot| has_return_address(anchor, *slot)) {
            slots.clear();
        }
        Some(Self { anchor, slots: slots.into(), stack, sites: [None; 2] })
    }

    fn site(&mut self, labels: Labels) -> Option<&'static Site> {
        let known = self.sites.iter().flatten().find(|site| site.labels == labels);
        if let Some(site) = known {
            return Some(site);
        }
        let site = site::of(self.stack, labels)?;
        self.sites = [Some(site), self.sites[0]];
        Some(site)
    }
}

/// Whether the frame's return address lies right below its stack pointer, where
/// x86-64 calls put it. Elsewhere stacks are unwound each time.
fn has_return_address(anchor: usize, slot: Slot) -> bool {
    if !cfg!(all(target_arch = "x86_64", not(miri))) || slot.place <= anchor {
        return false;
    }
    let place: *const usize = std::ptr::with_exposed_provenance(slot.place);
    // SAFETY: the unwinder has just passed this frame, which lies above ours in
    // this thread's stack.
    let found = unsafe { place.read_volatile() };
    found == slot.address
}

const SETS: usize = 16;
const WAYS: usize = 4;
/// Calls of a stack that are kept, from the innermost.
const FRAMES_MAX: usize = 64;
const STACKS_LEN_MAX: usize = 1 << 16;
/// How the names of this crate's functions begin, and those of the unwinder.
const OWN: [&str; 2] = ["raddle_runtime::", "backtrace::"];
