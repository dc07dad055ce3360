//! Knowing that the process is the child of a fork, in which the driver's threads
//! and locks are gone, so that a call there is an error and not a hang.
//!
//! A handler that the C library runs in forked children sets one flag; asking is
//! one load. Children that call `exec` at once never ask.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::Error;

static IS_CHILD: AtomicBool = AtomicBool::new(false);
static PARENT: AtomicU32 = AtomicU32::new(0);

/// Begins to watch: children forked from now on know what they are.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        PARENT.store(std::process::id(), Ordering::Relaxed);
        #[cfg(unix)]
        // SAFETY: the handler only stores to an atomic, which is allowed between
        // fork and exec. A failure leaves children as unaware as without it.
        let _ = unsafe { pthread_atfork(None, None, Some(note_child)) };
    });
}

/// Whether this process was forked from one that had begun to watch.
#[inline]
#[must_use]
pub fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// The error that every call in such a child returns.
#[cold]
#[must_use]
pub fn error() -> Error {
    Error::Forked { parent: PARENT.load(Ordering::Relaxed) }
}

#[cfg(unix)]
unsafe extern "C" {
    fn pthread_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
    ) -> std::ffi::c_int;
}

#[cfg(unix)]
unsafe extern "C" fn note_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}
