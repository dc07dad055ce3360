//! Keeps panics of simulated threads off standard error and remembers where
//! they happened.
//!
//! One process-wide hook looks at each panic: while a simulated thread runs on
//! the OS thread it notes message and place in that thread's [`Watch`], otherwise
//! it passes the panic on to the hook that was there before. A panic while the
//! thread is already unwinding ends the process (as in all Rust code) and is
//! therefore passed on with what was noted.

use std::cell::{Cell, RefCell};
use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::fault::Fault;

/// What the hook saw of a panic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caught {
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
}

impl Caught {
    /// The panic as the fault of a thread.
    pub fn into_fault(self, block: [u32; 3], thread: [u32; 3]) -> Fault {
        let Self { message, file, line, column } = self;
        Fault::Panic { message, file, line, column, block, thread }
    }
}

/// Where the hook leaves panics of the simulated threads that run on one OS
/// thread.
pub(crate) struct Watch {
    /// Whether a simulated thread runs, as opposed to its scheduler.
    pub is_running: Cell<bool>,
    caught: RefCell<Option<Caught>>,
    kernel: &'static str,
    stack_kib: usize,
    /// Where the stack of the running thread ends, guard page included, and
    /// where it begins; zeros if it is the OS thread's own.
    stack: Cell<(usize, usize)>,
}

impl Watch {
    /// A watch over threads of `kernel` with stacks of `stack_kib`.
    pub fn new(kernel: &'static str, stack_kib: usize) -> Self {
        let (is_running, caught, stack) = Default::default();
        Self { is_running, caught, kernel, stack_kib, stack }
    }

    /// Makes the hook note panics in `self` while `run` runs.
    pub fn during<R>(&self, run: impl FnOnce() -> R) -> R {
        struct Restore(*const Watch);
        impl Drop for Restore {
            fn drop(&mut self) {
                WATCH.set(self.0);
            }
        }
        install();
        let _restore = Restore(WATCH.replace(self));
        run()
    }

    /// Says on which stack the running thread runs.
    #[inline]
    pub fn set_stack(&self, stack: (usize, usize)) {
        self.stack.set(stack);
    }

    /// The panic whose payload `catch_unwind` returned.
    pub fn take(&self, payload: &(dyn std::any::Any + Send)) -> Caught {
        if let Some(caught) = self.caught.borrow_mut().take() {
            return caught;
        }
        // Somebody replaced the hook: the payload still has the message.
        let text = payload.downcast_ref::<&'static str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Caught { message: text.unwrap_or_else(|| OPAQUE.to_owned()), ..Caught::default() }
    }
}

/// If a simulated thread runs here and `address` lies on its stack, where only
/// the guard page can fault: the kernel and the stack's size in KiB.
pub(crate) fn overflowed(address: usize) -> Option<(&'static str, usize)> {
    // SAFETY: `Watch::during` keeps the watch alive while the pointer is set.
    let watch = unsafe { WATCH.get().as_ref() }?;
    let (end, begin) = watch.stack.get();
    let is_inside = watch.is_running.get() && (end..begin).contains(&address);
    is_inside.then_some((watch.kernel, watch.stack_kib))
}

thread_local! {
    static WATCH: Cell<*const Watch> = const { Cell::new(std::ptr::null()) };
}

/// Puts the hook in front of the present one, once.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !note(info) {
                previous(info);
            }
        }));
    });
}

/// Notes the panic if a simulated thread panicked for the first time; returns
/// whether there is nothing more to say.
fn note(info: &PanicHookInfo<'_>) -> bool {
    // SAFETY: `Watch::during` keeps the watch alive while the pointer is set.
    let Some(watch) = (unsafe { WATCH.get().as_ref() }) else { return false };
    if !watch.is_running.get() {
        return false;
    }
    let place = info.location();
    let caught = Caught {
        message: info.payload_as_str().unwrap_or(OPAQUE).to_owned(),
        file: place.map_or_else(String::new, |place| place.file().to_owned()),
        line: place.map_or(0, std::panic::Location::line),
        column: place.map_or(0, std::panic::Location::column),
    };
    if cfg!(panic = "abort") {
        let thread = raddle_device::host::try_current();
        let (block, thread) = thread.map_or_else(Default::default, |t| (t.block, t.thread));
        eprintln!("kernel {}, block {block:?}, thread {thread:?}:", watch.kernel);
        return false;
    }
    if let Some(first) = watch.caught.replace(Some(caught)) {
        let Caught { message, file, line, column } = first;
        eprintln!("kernel {} panicked at {file}:{line}:{column}: {message}; then", watch.kernel);
        return false;
    }
    true
}

const OPAQUE: &str = "a payload that is not text";
