//! How far a queue has come, and who wants to know: the waiter queue.
//!
//! Waiters are sorted by the number of the work they wait for; when the count
//! moves, the front of the queue up to there is woken. Values that work still
//! uses, but that nobody waits for any more, rest in the same place until then.
//!
//! Invariant: no wake-up is lost. A waiter enters the queue under the lock and
//! looks at the count again before it leaves the lock; whoever moves the count
//! does so before it takes the lock. `tests` checks every interleaving with loom.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use crate::sync::model::{AtomicU64, Mutex, Ordering, lock};

/// The count of one queue, with its waiters.
#[derive(Default)]
pub(crate) struct Signal {
    completed: AtomicU64,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    /// By the number waited for, then by ticket.
    waiters: BTreeMap<(u64, u64), Waker>,
    kept: BTreeMap<(u64, u64), Box<dyn Send>>,
    last_ticket: u64,
}

/// What an advance has taken from the lists: woken and dropped by
/// [`Woken::finish`], when no lock is held.
#[derive(Default)]
pub(crate) struct Woken {
    wakers: Vec<Waker>,
    kept: Vec<Box<dyn Send>>,
}

impl Woken {
    /// Wakes the waiters and drops what was kept.
    pub(crate) fn finish(&mut self) {
        for waker in self.wakers.drain(..) {
            // An executor that panics here must not take the poller with it.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
        for value in self.kept.drain(..) {
            let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
        }
    }
}

impl Signal {
    /// Number of the last work that is known to have ended; the largest number
    /// there is once the device is lost.
    #[inline]
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Notes that work up to `sequence` has ended, where nobody can be waiting.
    #[inline]
    pub(crate) fn note(&self, sequence: u64) {
        self.completed.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Notes that work up to `sequence` has ended, and takes out who waited for it.
    pub(crate) fn advance(&self, sequence: u64, woken: &mut Woken) {
        self.completed.fetch_max(sequence, Ordering::AcqRel);
        let mut list = lock(&self.list);
        while let Some(entry) = list.waiters.first_entry()
            && entry.key().0 <= sequence
        {
            woken.wakers.push(entry.remove());
        }
        while let Some(entry) = list.kept.first_entry()
            && entry.key().0 <= sequence
        {
            woken.kept.push(entry.remove());
        }
    }

    /// Has `waker` woken when work `sequence` has ended, under `ticket` if one was
    /// given out before. `None` if it has ended already.
    pub(crate) fn register(
        &self,
        sequence: u64,
        ticket: Option<u64>,
        waker: &Waker,
    ) -> Option<u64> {
        let mut list = lock(&self.list);
        let ticket = ticket.unwrap_or_else(|| list.new_ticket());
        let is_ready = self.completed() >= sequence;
        // Wakers are other people's code: dropped when the lock is free.
        let old = if is_ready {
            list.waiters.remove(&(sequence, ticket))
        } else {
            list.waiters.insert((sequence, ticket), waker.clone())
        };
        drop(list);
        drop(old);
        (!is_ready).then_some(ticket)
    }

    /// Forgets a waiter.
    pub(crate) fn cancel(&self, sequence: u64, ticket: u64) {
        let waker = lock(&self.list).waiters.remove(&(sequence, ticket));
        drop(waker);
    }

    /// Keeps `value` until work `sequence` has ended. Whether it has to be kept:
    /// otherwise it is dropped now.
    pub(crate) fn keep(&self, sequence: u64, value: Box<dyn Send>) -> bool {
        let mut list = lock(&self.list);
        if self.completed() >= sequence {
            drop(list);
            drop(value);
            return false;
        }
        let ticket = list.new_ticket();
        list.kept.insert((sequence, ticket), value);
        true
    }

    /// Whether anybody waits, or anything is kept.
    pub(crate) fn is_awaited(&self) -> bool {
        let list = lock(&self.list);
        !list.waiters.is_empty() || !list.kept.is_empty()
    }
}

impl List {
    fn new_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn count() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }

    fn woken(count: &Count) -> usize {
        count.0.load(std::sync::atomic::Ordering::SeqCst)
    }

    #[cfg(not(loom))]
    #[test]
    fn the_front_of_the_queue_is_woken_in_order_of_work() {
        let signal = Signal::default();
        let counts: Vec<_> = (1..=10).map(|_| count()).collect();
        for (i, (_, waker)) in counts.iter().enumerate().rev() {
            assert!(signal.register(i as u64 + 1, None, waker).is_some());
        }
        let mut out = Woken::default();
        signal.advance(4, &mut out);
        out.finish();
        for (i, (count, _)) in counts.iter().enumerate() {
            assert_eq!(woken(count), usize::from(i < 4), "waiter {i}");
        }
        signal.advance(3, &mut out);
        assert_eq!(signal.completed(), 4);
        assert!(signal.register(4, None, &counts[0].1).is_none());
        signal.advance(u64::MAX, &mut out);
        out.finish();
        assert!(counts.iter().all(|(count, _)| woken(count) == 1) && !signal.is_awaited());
    }

    #[cfg(not(loom))]
    #[test]
    fn a_cancelled_waiter_is_not_woken_and_leaves_nothing() {
        let signal = Signal::default();
        let (count, waker) = count();
        let ticket = signal.register(7, None, &waker).unwrap();
        assert_eq!(signal.register(7, Some(ticket), &waker), Some(ticket));
        signal.cancel(7, ticket);
        assert!(!signal.is_awaited());
        signal.advance(9, &mut Woken::default());
        assert_eq!(woken(&count), 0);
    }

    #[cfg(not(loom))]
    #[test]
    fn kept_values_are_dropped_when_their_work_has_ended() {
        let signal = Signal::default();
        let value = Arc::new(());
        assert!(signal.keep(5, Box::new(Arc::clone(&value))));
        assert!(signal.keep(6, Box::new(Arc::clone(&value))));
        let mut out = Woken::default();
        signal.advance(5, &mut out);
        assert_eq!(Arc::strong_count(&value), 3);
        out.finish();
        assert_eq!(Arc::strong_count(&value), 2);
        assert!(!signal.keep(5, Box::new(Arc::clone(&value))));
        assert_eq!(Arc::strong_count(&value), 2);
    }

    #[cfg(not(loom))]
    #[test]
    fn a_waker_that_panics_does_not_stop_the_others() {
        struct Panics;
        impl Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("an executor's fault");
            }
        }
        let signal = Signal::default();
        let (count, waker) = count();
        signal.register(1, None, &Waker::from(Arc::new(Panics))).unwrap();
        signal.register(1, None, &waker).unwrap();
        let mut out = Woken::default();
        signal.advance(1, &mut out);
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        out.finish();
        std::panic::set_hook(hook);
        assert_eq!(woken(&count), 1);
    }

    /// One waits, one cancels, and the device finishes: whatever the order, the
    /// one that waits is told or sees for itself.
    #[cfg(loom)]
    #[test]
    fn loom_no_wake_up_is_lost() {
        loom::model(|| {
            let signal = loom::sync::Arc::new(Signal::default());
            let (first, first_waker) = count();
            let waits = {
                let signal = loom::sync::Arc::clone(&signal);
                loom::thread::spawn(move || signal.register(2, None, &first_waker).is_some())
            };
            let cancels = {
                let signal = loom::sync::Arc::clone(&signal);
                let (_, waker) = count();
                loom::thread::spawn(move || {
                    if let Some(ticket) = signal.register(2, None, &waker) {
                        signal.cancel(2, ticket);
                    }
                })
            };
            let mut out = Woken::default();
            signal.advance(1, &mut out);
            signal.advance(2, &mut out);
            out.finish();
            let has_waited = waits.join().unwrap();
            cancels.join().unwrap();
            assert_eq!(woken(&first), usize::from(has_waited));
            assert!(!signal.is_awaited());
        });
    }

    /// A value that is kept while the device finishes is dropped exactly once,
    /// and never before.
    #[cfg(loom)]
    #[test]
    fn loom_kept_values_live_until_their_work_has_ended() {
        struct Checked(loom::sync::Arc<Signal>, Arc<AtomicUsize>);
        impl Drop for Checked {
            fn drop(&mut self) {
                assert!(self.0.completed() >= 3);
                self.1.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
        loom::model(|| {
            let signal = loom::sync::Arc::new(Signal::default());
            let dropped = Arc::new(AtomicUsize::new(0));
            let keeps = {
                let signal = loom::sync::Arc::clone(&signal);
                let value = Checked(loom::sync::Arc::clone(&signal), Arc::clone(&dropped));
                loom::thread::spawn(move || {
                    signal.keep(3, Box::new(value));
                })
            };
            let mut out = Woken::default();
            for sequence in 1..=3 {
                signal.advance(sequence, &mut out);
                out.finish();
            }
            keeps.join().unwrap();
            assert_eq!(dropped.load(std::sync::atomic::Ordering::SeqCst), 1);
            assert!(!signal.is_awaited());
        });
    }
}
