//! Locking without poison: a thread that panicked while it held a lock of ours
//! left counters and tables whole, since nothing between two of their updates
//! can panic. And the primitives that loom replaces when it checks the models of
//! [`timeline`](crate::timeline) and of the waiter queue.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the modelled modules are built from.
pub(crate) mod model {
    #[cfg(loom)]
    pub(crate) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    };
    use std::sync::PoisonError;
    #[cfg(not(loom))]
    pub(crate) use std::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    };

    /// Locks `mutex`, as [`lock`](super::lock) does.
    #[inline]
    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
