//! OS threads that help with launches, kept for the life of the process.
//!
//! A caller offers its work, does its own share and then waits only for those
//! helpers that have begun: a launch never waits for a busy pool, so launches
//! from many OS threads at once cannot block each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Runs `work` on the calling thread and on up to `workers - 1` helpers at
/// once. Returns when all of them have returned.
///
/// # Panics
///
/// If `work` panics.
pub(crate) fn run_on(workers: usize, work: &(dyn Fn() + Sync)) {
    if workers <= 1 {
        return work();
    }
    let offer = Offer::publish(workers - 1, work);
    work();
    drop(offer);
}

/// Work that helpers may take; withdrawn and waited for when dropped, so that
/// no helper outlives the borrow.
struct Offer {
    number: u64,
}

/// An entry of the pool's list.
struct Entry {
    number: u64,
    work: Work,
    wanted: usize,
    running: usize,
    has_panicked: bool,
}

/// A borrow of the caller's work with its lifetime taken off.
#[derive(Clone, Copy)]
struct Work(*const (dyn Fn() + Sync));

// SAFETY: the function behind it is `Sync`, and `Offer::drop` keeps it alive
// until no helper uses it.
unsafe impl Send for Work {}

#[derive(Default)]
struct Pool {
    entries: Vec<Entry>,
    helpers: usize,
    idle: usize,
    next_number: u64,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { entries: Vec::new(), helpers: 0, idle: 0, next_number: 0 });
/// Signalled when there is work.
static OFFERED: Condvar = Condvar::new();
/// Signalled when a helper has finished.
static FINISHED: Condvar = Condvar::new();

impl Offer {
    fn publish(helpers: usize, work: &(dyn Fn() + Sync)) -> Self {
        let work: *const (dyn Fn() + Sync + '_) = work;
        // SAFETY: only the lifetime changes; `drop` waits for all users.
        let work = Work(unsafe {
            std::mem::transmute::<*const (dyn Fn() + Sync + '_), *const (dyn Fn() + Sync)>(work)
        });
        let mut pool = lock();
        let number = pool.next_number;
        pool.next_number += 1;
        pool.entries.push(Entry { number, work, wanted: helpers, running: 0, has_panicked: false });
        pool.summon();
        Self { number }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut pool = lock();
        let has_panicked = loop {
            let Some(position) = pool.position(self.number) else { break false };
            pool.entries[position].wanted = 0;
            if pool.entries[position].running == 0 {
                break pool.entries.swap_remove(position).has_panicked;
            }
            pool = FINISHED.wait(pool).unwrap_or_else(PoisonError::into_inner);
        };
        drop(pool);
        if has_panicked && !std::thread::panicking() {
            panic!("a helper of the simulator panicked");
        }
    }
}

impl Pool {
    /// Gets one helper to work. Each helper that finds work calls the next, so
    /// that a caller pays for one wake-up however many helpers it wants, and
    /// short work ends before many have come.
    fn summon(&mut self) {
        if self.idle > 0 {
            OFFERED.notify_one();
        } else if self.helpers < HELPERS_MAX {
            let name = format!("raddle-sim-{}", self.helpers);
            // Without a further thread the work is done by those there are.
            if std::thread::Builder::new().name(name).spawn(help).is_ok() {
                self.helpers += 1;
            }
        }
    }

    fn position(&self, number: u64) -> Option<usize> {
        self.entries.iter().position(|entry| entry.number == number)
    }
}

/// The life of a helper.
fn help() {
    let mut pool = lock();
    loop {
        let Some(entry) = pool.entries.iter_mut().find(|entry| entry.wanted > 0) else {
            pool.idle += 1;
            pool = OFFERED.wait(pool).unwrap_or_else(PoisonError::into_inner);
            pool.idle -= 1;
            continue;
        };
        entry.wanted -= 1;
        entry.running += 1;
        let (number, work) = (entry.number, entry.work);
        if pool.entries.iter().any(|entry| entry.wanted > 0) {
            pool.summon();
        }
        drop(pool);
        // SAFETY: the offer stays until `running` is back at zero.
        let result = catch_unwind(AssertUnwindSafe(|| unsafe { (*work.0)() }));
        pool = lock();
        if let Some(position) = pool.position(number) {
            let entry = &mut pool.entries[position];
            entry.running -= 1;
            entry.has_panicked |= result.is_err();
        }
        FINISHED.notify_all();
    }
}

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most helpers in a process.
const HELPERS_MAX: usize = 1024;
