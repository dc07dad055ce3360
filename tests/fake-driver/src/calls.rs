//! The gate that every driver function passes: counting, injected errors, hiding.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::handles::{Code, Result};
use crate::world::{CURRENT, Locked, lock};

/// How an injected error shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The function fails without effect.
    Before,
    /// The function does its work and reports an error all the same, as the
    /// driver does with errors of earlier work: for functions that release
    /// something, which nobody can do a second time, and for those that wait.
    After,
}

/// One function of the driver.
#[derive(Debug)]
pub(crate) struct Function {
    /// Name as `cuGetProcAddress` is asked for it.
    pub(crate) name: &'static str,
    /// Least version that is asked for to get this form of the function.
    pub(crate) since: i32,
    pub(crate) effect: Effect,
    pub(crate) count: AtomicU64,
    pub(crate) is_hidden: AtomicBool,
    /// Where the driver behind this one has the function; 0 if there is none.
    pub(crate) real: AtomicUsize,
}

impl Function {
    pub(crate) const fn new(name: &'static str, since: i32, effect: Effect) -> Self {
        let (count, is_hidden) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { name, since, effect, count, is_hidden, real: AtomicUsize::new(0) }
    }
}

/// An error to be injected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Injection {
    /// The only function meant; all if empty.
    pub(crate) function: String,
    /// Calls to let pass before the one that fails.
    pub(crate) pass: u64,
    /// How many calls fail from then on.
    pub(crate) repeat: u64,
    pub(crate) code: Code,
    /// Whether the context is lost to the error.
    pub(crate) is_sticky: bool,
    /// Whether only calls of the thread that armed it count.
    pub(crate) thread: Option<std::thread::ThreadId>,
    /// Every n-th matching call fails, for ever, instead.
    pub(crate) every: u64,
}

/// The injection that is armed, and what it hit.
#[derive(Debug, Default)]
pub(crate) struct Injector {
    pub(crate) armed: Option<Injection>,
    pub(crate) fired: Vec<&'static str>,
    pub(crate) fired_len: u64,
}

pub(crate) static INJECTOR: Mutex<Injector> =
    Mutex::new(Injector { armed: None, fired: Vec::new(), fired_len: 0 });
/// Whether anything is armed, so that the usual call need not look.
pub(crate) static IS_ARMED: AtomicBool = AtomicBool::new(false);

/// Most names kept of calls that failed.
const FIRED_MAX: usize = 64;

impl Injector {
    /// The error for a call of `name`, if this one is to fail.
    fn strike(&mut self, name: &'static str) -> Option<Injection> {
        let armed = self.armed.as_mut()?;
        let is_meant = armed.function.is_empty() || armed.function == name;
        let is_here = armed.thread.is_none_or(|thread| thread == std::thread::current().id());
        if !is_meant || !is_here {
            return None;
        }
        if armed.pass > 0 {
            armed.pass -= 1;
            return None;
        }
        let injection = armed.clone();
        if armed.every > 0 {
            armed.pass = armed.every - 1;
        } else {
            armed.repeat -= 1;
            if armed.repeat == 0 {
                self.armed = None;
                IS_ARMED.store(false, Ordering::Release);
            }
        }
        self.fired_len += 1;
        if self.fired.len() < FIRED_MAX {
            self.fired.push(name);
        }
        Some(injection)
    }
}

/// The error for a call of `name`, if this one is to fail.
pub(crate) fn strike(name: &'static str) -> Option<Injection> {
    if !IS_ARMED.load(Ordering::Acquire) {
        return None;
    }
    INJECTOR.lock().unwrap_or_else(PoisonError::into_inner).strike(name)
}

thread_local! {
    /// Whether the thread is inside a host function, where CUDA calls are forbidden.
    pub(crate) static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Runs a driver function.
pub(crate) fn gate(function: &'static Function, body: impl FnOnce(&mut Locked) -> Result) -> Code {
    function.count.fetch_add(1, Ordering::Relaxed);
    let mut world = lock();
    if IN_HOST_FUNCTION.get() {
        world.violate(format!("{} was called in a host function", function.name));
        return 800;
    }
    let Some(injection) = strike(function.name) else {
        return body(&mut world).err().unwrap_or(0);
    };
    if function.effect == Effect::After {
        // Whatever it says itself, the injected error goes before.
        let _ = body(&mut world);
    }
    if injection.is_sticky {
        let context = CURRENT.get();
        world.lose(context, injection.code);
    }
    injection.code
}
