//! Everything the driver knows, behind one lock.
//!
//! Invariant: the lock is free while host functions run and while a waiting
//! thread sleeps; nothing else leaves it with half a change made.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::control::{KernelRow, Settings};
use crate::handles::{
    Code, Handle, INVALID_CONTEXT, INVALID_HANDLE, Kind, NOT_INITIALIZED, OUT_OF_MEMORY, Result,
};
use crate::memory::Memory;
use crate::objects::{
    Capture, Context, Event, Exec, Function, Graph, Link, Module, Physical, Pool, Stream,
};
use crate::races::Clock;
use crate::random::Random;

/// The state of the driver.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) random: Random,
    pub(crate) is_started: bool,
    next: u64,
    /// By device: the primary context and how often it is retained.
    pub(crate) primaries: BTreeMap<i32, (Handle, u32)>,
    pub(crate) contexts: HashMap<Handle, Context>,
    /// Every stream ever made, by slot.
    pub(crate) streams: Vec<Stream>,
    pub(crate) slots: HashMap<Handle, usize>,
    /// The legacy default stream of each context.
    pub(crate) legacy: HashMap<Handle, usize>,
    /// Slots with work.
    pub(crate) active: Vec<usize>,
    /// Slots that run only if nothing else can.
    pub(crate) starved: Vec<usize>,
    pub(crate) events: HashMap<Handle, Event>,
    pub(crate) modules: HashMap<Handle, Module>,
    pub(crate) functions: HashMap<Handle, Function>,
    pub(crate) links: HashMap<Handle, Link>,
    pub(crate) pools: HashMap<Handle, Pool>,
    pub(crate) physical: HashMap<Handle, Physical>,
    pub(crate) graphs: HashMap<Handle, Graph>,
    pub(crate) execs: HashMap<Handle, Exec>,
    pub(crate) captures: HashMap<u64, Capture>,
    pub(crate) memory: Memory,
    /// Device memory in use, by device.
    pub(crate) used: HashMap<i32, u64>,
    /// What the host has seen completed.
    pub(crate) host: Clock,
    pub(crate) host_version: u64,
    pub(crate) kernels: HashMap<String, KernelRow>,
    pub(crate) kernel_faults: Vec<(String, u64, Code)>,
    pub(crate) kernel_panics: Vec<(String, u64, Vec<u8>)>,
    pub(crate) kernels_run: u64,
    pub(crate) steps: u64,
    pub(crate) clock_ns: u64,
    pub(crate) violations: Vec<String>,
    pub(crate) violations_len: u64,
}

static WORLD: LazyLock<Mutex<World>> = LazyLock::new(|| Mutex::new(World::new()));
static PROGRESS: Condvar = Condvar::new();

thread_local! {
    /// The context that is current on the thread.
    pub(crate) static CURRENT: Cell<Handle> = const { Cell::new(Handle::NULL) };
}

/// Reports kept; the rest is counted.
const VIOLATIONS_MAX: usize = 64;

impl World {
    fn new() -> Self {
        Self {
            settings: Settings::default(),
            random: Random::new(1),
            is_started: false,
            next: 0,
            primaries: BTreeMap::new(),
            contexts: HashMap::new(),
            streams: Vec::new(),
            slots: HashMap::new(),
            legacy: HashMap::new(),
            active: Vec::new(),
            starved: Vec::new(),
            events: HashMap::new(),
            modules: HashMap::new(),
            functions: HashMap::new(),
            links: HashMap::new(),
            pools: HashMap::new(),
            physical: HashMap::new(),
            graphs: HashMap::new(),
            execs: HashMap::new(),
            captures: HashMap::new(),
            memory: Memory::default(),
            used: HashMap::new(),
            host: Clock::default(),
            host_version: 1,
            kernels: HashMap::new(),
            kernel_faults: Vec::new(),
            kernel_panics: Vec::new(),
            kernels_run: 0,
            steps: 0,
            clock_ns: 0,
            violations: Vec::new(),
            violations_len: 0,
        }
    }

    /// A number that was never given out before.
    pub(crate) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn handle(&mut self, kind: Kind) -> Handle {
        Handle::new(kind, self.fresh())
    }

    /// Reports a wrong use of the driver.
    pub(crate) fn violate(&mut self, what: String) {
        self.violations_len += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(what);
        }
    }

    /// The context that is current on the calling thread, and alive.
    pub(crate) fn current(&self) -> Result<Handle> {
        if !self.is_started {
            return Err(NOT_INITIALIZED);
        }
        let handle = CURRENT.get();
        match self.contexts.get(&handle) {
            Some(context) => context.fault.map_or(Ok(handle), Err),
            None => Err(INVALID_CONTEXT),
        }
    }

    /// The current context with its device.
    pub(crate) fn place(&self) -> Result<(i32, Handle)> {
        let handle = self.current()?;
        Ok((self.contexts[&handle].device, handle))
    }

    /// The slot of a stream of the current context; null and 1 are the legacy
    /// default stream.
    pub(crate) fn slot(&mut self, stream: Handle) -> Result<usize> {
        let context = self.current()?;
        if stream.0 <= 1 {
            return Ok(self.legacy_slot(context));
        }
        match self.slots.get(&stream) {
            Some(&slot) if self.streams[slot].context == context => Ok(slot),
            Some(_) => Err(INVALID_HANDLE),
            None => {
                self.violate(format!("{stream} was used, which does not exist any more"));
                Err(INVALID_HANDLE)
            }
        }
    }

    fn legacy_slot(&mut self, context: Handle) -> usize {
        if let Some(&slot) = self.legacy.get(&context) {
            return slot;
        }
        let id = self.fresh();
        self.streams.push(Stream::new(context, id, 0, true));
        self.legacy.insert(context, self.streams.len() - 1);
        self.streams.len() - 1
    }

    /// An object of the current context, or a report that it is gone.
    pub(crate) fn check<T>(&mut self, found: Option<T>, handle: Handle) -> Result<T> {
        if found.is_none() && !handle.is_null() {
            self.violate(format!("{handle} was used, which does not exist any more"));
        }
        found.ok_or(INVALID_HANDLE)
    }

    /// Takes device memory, if there is enough.
    pub(crate) fn take_memory(&mut self, device: i32, bytes: u64) -> Result {
        let total = self.settings.memory_bytes;
        let used = self.used.entry(device).or_default();
        if total.saturating_sub(*used) < bytes {
            return Err(OUT_OF_MEMORY);
        }
        *used += bytes;
        Ok(())
    }

    pub(crate) fn give_memory(&mut self, device: i32, bytes: u64) {
        let used = self.used.entry(device).or_default();
        *used = used.saturating_sub(bytes);
    }

    /// Lets the host know that everything in `clock` has ended.
    pub(crate) fn observe(&mut self, clock: &Clock) {
        if !self.host.covers(clock) {
            self.host.join(clock);
            self.host_version += 1;
        }
    }

    /// Loses a context to a fault: its work never ends, its calls fail.
    pub(crate) fn lose(&mut self, context: Handle, code: Code) {
        if let Some(context) = self.contexts.get_mut(&context) {
            context.fault.get_or_insert(code);
        }
        self.drop_work(context);
    }

    /// Throws away all queued work of a context.
    pub(crate) fn drop_work(&mut self, context: Handle) {
        for stream in self.streams.iter_mut().filter(|stream| stream.context == context) {
            stream.queue.clear();
            stream.capture = None;
        }
        let streams = &self.streams;
        self.active.retain(|&slot| streams[slot].context != context);
    }

    /// Destroys a context with everything in it.
    pub(crate) fn destroy_context(&mut self, context: Handle) {
        self.drop_work(context);
        let device = self.contexts.remove(&context).map_or(0, |context| context.device);
        let slots: Vec<Handle> = self.slots.keys().copied().collect();
        for handle in slots {
            if self.streams[self.slots[&handle]].context == context {
                self.slots.remove(&handle);
            }
        }
        self.legacy.remove(&context);
        self.events.retain(|_, event| event.context != context);
        self.modules.retain(|_, module| module.context != context);
        self.functions.retain(|_, function| function.context != context);
        self.pools.retain(|_, pool| pool.context != context);
        self.physical.retain(|_, physical| physical.context != context);
        self.execs.retain(|_, exec| exec.context != context);
        self.memory.remove_context(context);
        self.used.insert(device, 0);
    }
}

/// The world while this thread holds its lock.
pub(crate) struct Locked {
    guard: Option<MutexGuard<'static, World>>,
}

/// Takes the lock.
pub(crate) fn lock() -> Locked {
    Locked { guard: Some(WORLD.lock().unwrap_or_else(PoisonError::into_inner)) }
}

impl Locked {
    /// Lets others go on while `run` runs.
    pub(crate) fn unlocked<R>(&mut self, run: impl FnOnce() -> R) -> R {
        self.guard = None;
        let result = run();
        self.guard = lock().guard;
        result
    }

    /// Sleeps until something has happened, or a while.
    pub(crate) fn rest(&mut self) {
        let guard = self.guard.take().expect("the lock is held between calls");
        let rested = PROGRESS.wait_timeout(guard, Duration::from_millis(1));
        self.guard = Some(rested.unwrap_or_else(PoisonError::into_inner).0);
    }

    /// Wakes those who rest.
    pub(crate) fn wake(&self) {
        PROGRESS.notify_all();
    }
}

impl std::ops::Deref for Locked {
    type Target = World;

    fn deref(&self) -> &World {
        self.guard.as_ref().expect("the lock is held between calls")
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut World {
        self.guard.as_mut().expect("the lock is held between calls")
    }
}
