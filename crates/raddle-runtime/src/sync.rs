//! Locking without poison: a thread that panicked while it held a lock of ours
//! left counters and tables whole, since nothing between two of their updates
//! can panic.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
