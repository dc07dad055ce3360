//! The one thread that looks after everything a device's users wait for.
//!
//! It looks at the completion words of the queues that somebody awaits, wakes the
//! waiters, and sleeps when nobody awaits anything. While work is under way it
//! spins for about as long as work has lately taken, but shortly; then it sleeps
//! for a small share of the time that it has waited already, so that a wait of
//! ten seconds costs next to nothing and is noticed a few milliseconds late at
//! most. Every few milliseconds it asks the driver whether the device still lives
//! (the watchdog): after a fault no word is ever written.
//!
//! What it watches is a trait, so that its timing and its races can be tested
//! without a GPU.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::completion::signal::{Signal, Woken};
use crate::sync::lock;

/// A queue that somebody awaits.
pub(crate) trait Watched: Send + 'static {
    /// What came of a fault.
    type Fault: Send;

    /// The count and its waiters.
    fn signal(&self) -> &Signal;

    /// Whether the poller has the queue.
    fn is_watched(&self) -> &AtomicBool;

    /// How far the device has come, as it says itself.
    fn observe(&self) -> Result<u64, Self::Fault>;

    /// Asks the driver whether the device lives.
    fn probe(&self) -> Result<(), Self::Fault>;

    /// Notes that work up to `completed` has ended, and what went wrong in it;
    /// takes out who waited for it.
    fn settle(&self, completed: u64, woken: &mut Woken);

    /// The device is lost: nothing that is awaited will ever end by itself.
    fn fail(&self, fault: Self::Fault, woken: &mut Woken);
}

/// The poller of one device. Its thread starts when it is first needed.
pub(crate) struct Poller<W: Watched> {
    shared: Arc<Shared<W>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared<W> {
    inbox: Mutex<Inbox<W>>,
    has_new: AtomicBool,
    wake: Condvar,
    swept: Condvar,
}

struct Inbox<W> {
    new: Vec<W>,
    is_stopped: bool,
    /// How often the poller was asked to give up what nobody awaits, and how often it
    /// has since done so.
    sweeps_wanted: u64,
    sweeps_done: u64,
}

impl<W: Watched> Default for Poller<W> {
    fn default() -> Self {
        let (new, is_stopped) = (Vec::new(), false);
        let inbox = Mutex::new(Inbox { new, is_stopped, sweeps_wanted: 0, sweeps_done: 0 });
        let (wake, swept) = (Condvar::new(), Condvar::new());
        let shared = Shared { inbox, has_new: AtomicBool::new(false), wake, swept };
        Self { shared: Arc::new(shared), thread: Mutex::new(None) }
    }
}

impl<W: Watched> Poller<W> {
    /// Looks after `watched` until nobody awaits it. To be called after each
    /// registration of a waiter; `watched` is made only if the poller does not
    /// have the queue.
    ///
    /// # Errors
    ///
    /// The system's reason for not starting a thread.
    pub(crate) fn watch(
        &self,
        is_watched: &AtomicBool,
        watched: impl FnOnce() -> W,
    ) -> std::io::Result<()> {
        if is_watched.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let builder = std::thread::Builder::new().name("raddle-poller".to_owned());
            match builder.spawn(move || run(&shared)) {
                Ok(started) => *thread = Some(started),
                Err(error) => {
                    is_watched.store(false, Ordering::SeqCst);
                    return Err(error);
                }
            }
        }
        drop(thread);
        let mut inbox = lock(&self.shared.inbox);
        inbox.new.push(watched());
        self.shared.has_new.store(true, Ordering::Release);
        drop(inbox);
        self.shared.wake.notify_one();
        Ok(())
    }
}

impl<W: Watched> Poller<W> {
    /// Has the thread give up, now, every queue that nobody awaits, and waits until it
    /// has.
    pub(crate) fn sweep(&self) {
        let is_here = |thread: &JoinHandle<()>| thread.thread().id() == std::thread::current().id();
        if lock(&self.thread).as_ref().is_none_or(is_here) {
            return;
        }
        let mut inbox = lock(&self.shared.inbox);
        inbox.sweeps_wanted += 1;
        let wanted = inbox.sweeps_wanted;
        self.shared.has_new.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        while inbox.sweeps_done < wanted && !inbox.is_stopped {
            inbox = match self.shared.swept.wait(inbox) {
                Ok(inbox) => inbox,
                Err(poison) => poison.into_inner(),
            };
        }
    }

    /// Ends the thread and waits until it looks at nothing any more. What is
    /// handed in later is not looked at.
    pub(crate) fn stop(&self) {
        lock(&self.shared.inbox).is_stopped = true;
        self.shared.has_new.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        self.shared.swept.notify_all();
        let thread = lock(&self.thread).take();
        // The thread itself may hold the last reference to what it watches.
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl<W: Watched> Drop for Poller<W> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<W> Shared<W> {
    /// Moves what is new to `active`, and the number of a sweep that is wanted to
    /// `sweep`, after a sleep of at most `pause`, or until there is something if there
    /// is no limit. Whether to go on.
    fn take(&self, active: &mut Vec<W>, sweep: &mut Option<u64>, pause: Option<Duration>) -> bool {
        let mut inbox = lock(&self.inbox);
        match pause {
            Some(Duration::ZERO) => {}
            Some(pause) if inbox.is_quiet() => {
                inbox = match self.wake.wait_timeout(inbox, pause) {
                    Ok((inbox, _)) => inbox,
                    Err(poison) => poison.into_inner().0,
                };
            }
            Some(_) => {}
            None => {
                while inbox.is_quiet() {
                    inbox = match self.wake.wait(inbox) {
                        Ok(inbox) => inbox,
                        Err(poison) => poison.into_inner(),
                    };
                }
            }
        }
        active.append(&mut inbox.new);
        if inbox.sweeps_done < inbox.sweeps_wanted {
            *sweep = Some(inbox.sweeps_wanted);
        }
        self.has_new.store(inbox.is_stopped, Ordering::Release);
        !inbox.is_stopped
    }

    fn note_sweep(&self, number: u64) {
        lock(&self.inbox).sweeps_done = number;
        self.swept.notify_all();
    }
}

impl<W> Inbox<W> {
    /// Whether there is nothing to do here.
    fn is_quiet(&self) -> bool {
        self.new.is_empty() && !self.is_stopped && self.sweeps_done == self.sweeps_wanted
    }
}

/// Longest spin without progress.
const SPIN_MAX: Duration = Duration::from_micros(200);
/// Shortest spin: waking the thread again costs more.
const SPIN_MIN: Duration = Duration::from_micros(30);
/// Shortest sleep.
const PAUSE_MIN: Duration = Duration::from_micros(20);
/// Longest sleep while something is awaited.
const PAUSE_MAX: Duration = Duration::from_millis(4);
/// Share of the time waited so far that a sleep lasts.
const PAUSE_SHARE: u32 = 64;
/// Passes between two looks for queues that nobody awaits any more.
const THOROUGH_EVERY: u32 = 32;
/// How often the device is asked whether it lives.
const PROBE_EVERY: Duration = Duration::from_millis(3);

fn run<W: Watched>(shared: &Shared<W>) {
    sleep_precisely();
    let (mut active, mut woken) = (Vec::new(), Woken::default());
    let mut pace = Pace::new();
    let (mut next_probe, mut pass) = (0usize, 0u32);
    let mut last_probe = Instant::now();
    let mut sweep = None;
    loop {
        if active.is_empty() {
            if !shared.take(&mut active, &mut sweep, None) {
                return;
            }
            pace.begin();
            last_probe = Instant::now();
        } else if shared.has_new.load(Ordering::Acquire) {
            if !shared.take(&mut active, &mut sweep, Some(Duration::ZERO)) {
                return;
            }
            pace.begin();
        }
        let mut has_progressed = false;
        // Waiters that were cancelled are looked for now and then only.
        pass = pass.wrapping_add(1);
        let is_thorough = pass % THOROUGH_EVERY == 0 || sweep.is_some();
        active.retain(|watched| {
            let has_moved = look(watched, &mut woken);
            has_progressed |= has_moved;
            !(has_moved || is_thorough) || stays(watched)
        });
        woken.finish();
        if let Some(number) = sweep.take() {
            shared.note_sweep(number);
        }
        let now = Instant::now();
        if has_progressed {
            pace.note_progress(now);
        }
        if active.is_empty() {
            continue;
        }
        if now - last_probe >= PROBE_EVERY {
            last_probe = now;
            next_probe = (next_probe + 1) % active.len();
            let watched = &active[next_probe];
            if let Err(fault) = watched.probe() {
                watched.fail(fault, &mut woken);
                woken.finish();
            }
        }
        match pace.pause(now) {
            None => std::hint::spin_loop(),
            Some(pause) => {
                let len = active.len();
                if !shared.take(&mut active, &mut sweep, Some(pause)) {
                    return;
                }
                if active.len() > len {
                    pace.begin();
                }
            }
        }
    }
}

/// Looks at one queue. Whether it has come any further.
fn look<W: Watched>(watched: &W, woken: &mut Woken) -> bool {
    let completed = watched.signal().completed();
    match watched.observe() {
        // Lost: whoever registers from now on sees it at once.
        _ if completed == u64::MAX => watched.signal().advance(u64::MAX, woken),
        Ok(now) if now > completed => watched.settle(now, woken),
        Ok(_) => return false,
        Err(fault) => watched.fail(fault, woken),
    }
    true
}

/// Whether anybody still awaits the queue; otherwise it is given up.
fn stays<W: Watched>(watched: &W) -> bool {
    if watched.signal().is_awaited() {
        return true;
    }
    watched.is_watched().store(false, Ordering::SeqCst);
    // Whoever registered before the store relies on us; whoever registers later
    // hands the queue in again.
    watched.signal().is_awaited() && !watched.is_watched().swap(true, Ordering::SeqCst)
}

/// How long to spin and how long to sleep.
struct Pace {
    /// When something last happened, or something new was handed in.
    since: Instant,
    /// How long progress has lately taken, smoothed.
    typical: Duration,
}

impl Pace {
    fn new() -> Self {
        Self { since: Instant::now(), typical: SPIN_MAX / 2 }
    }

    fn begin(&mut self) {
        self.since = Instant::now();
    }

    fn note_progress(&mut self, now: Instant) {
        self.typical = (self.typical * 7 + (now - self.since).min(SPIN_MAX * 8)) / 8;
        self.since = now;
    }

    /// How long to sleep; `None` to go on spinning.
    fn pause(&self, now: Instant) -> Option<Duration> {
        let quiet = now - self.since;
        // What takes longer than the longest spin is not worth a long one.
        let is_short = self.typical < SPIN_MAX;
        let spin = if is_short { (self.typical * 2).max(SPIN_MIN) } else { SPIN_MIN };
        (quiet >= spin.min(SPIN_MAX)).then(|| (quiet / PAUSE_SHARE).clamp(PAUSE_MIN, PAUSE_MAX))
    }
}

/// Asks Linux not to lengthen this thread's sleeps by its usual 50 us.
fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn prctl(option: std::ffi::c_int, ...) -> std::ffi::c_int;
        }
        const PR_SET_TIMERSLACK: std::ffi::c_int = 29;
        // SAFETY: sets a number of the calling thread; a failure leaves it as it
        // was.
        let _ = unsafe { prctl(PR_SET_TIMERSLACK, 1 as std::ffi::c_ulong) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
