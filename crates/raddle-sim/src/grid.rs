//! Spreads the clusters of a grid over OS threads and decides when nothing can
//! go on.
//!
//! Clusters are claimed in ascending order, so that a block may wait for lower
//! ones (as in a decoupled look-back scan). A worker whose clusters all wait for
//! memory to change begins further ones, as many as there are stacks for, so
//! that grids whose blocks wait for each other run as on a GPU that holds them
//! all at once.

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fault::Fault;
use crate::fibre::{Fibre, LAUNCH_STACKS_MAX};
use crate::launch::{Launch, Shape};
use crate::options::Options;
use crate::overflow;
use crate::panics::Watch;
use crate::plain::Plain;
use crate::pool;
use crate::runner::{Progress, Runner};
use crate::shared;

/// A launch under way.
pub(crate) struct Grid<'a> {
    pub launch: &'a Launch,
    pub shape: Shape,
    pub options: &'a Options,
    workers: usize,
    /// First cluster that nobody has claimed.
    next: AtomicU64,
    /// Whether no further cluster is to begin.
    is_stopped: AtomicBool,
    /// Whether there is a fault.
    has_failed: AtomicBool,
    /// Whether some worker found that nothing can go on.
    is_deadlocked: AtomicBool,
    /// Workers with a thread that runs.
    busy: AtomicUsize,
    /// Counts what may let a stalled worker go on.
    events: AtomicU64,
    panicked_clusters: AtomicU32,
    /// Threads of the clusters that have begun and not ended: the stacks they
    /// may need.
    active_threads: AtomicUsize,
    fault: Mutex<Option<(Rank, Fault)>>,
}

/// Order of faults: those that caused others come first, then low clusters.
type Rank = (bool, u64);

impl<'a> Grid<'a> {
    /// Checks a launch.
    pub fn new(launch: &'a Launch, options: &'a Options) -> Result<Self, Fault> {
        let shape = Shape::new(launch)?;
        shared::check_size(launch.dynamic_shared_bytes)
            .map_err(|reason| Fault::SharedMemory { reason, block: [0; 3] })?;
        let most = usize::try_from(shape.clusters).unwrap_or(usize::MAX);
        let stacks = LAUNCH_STACKS_MAX / shape.cluster_threads() as usize;
        let most = if launch.synchronizes { most.min(stacks.max(1)) } else { most };
        Ok(Self {
            launch,
            shape,
            options,
            workers: options.threads.min(most).max(1),
            next: AtomicU64::new(0),
            is_stopped: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
            is_deadlocked: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            events: AtomicU64::new(0),
            panicked_clusters: AtomicU32::new(0),
            active_threads: AtomicUsize::new(0),
            fault: Mutex::new(None),
        })
    }

    /// Runs all clusters.
    pub fn run(self) -> Result<(), Fault> {
        if self.launch.synchronizes {
            overflow::install();
            pool::run_on(self.workers, &|| self.work_on_fibres());
        } else {
            pool::run_on(self.workers, &|| self.work_plainly());
        }
        match self.fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, fault)) => Err(fault),
            None => Ok(()),
        }
    }

    /// One worker's part of a launch whose threads never wait.
    fn work_plainly(&self) {
        let watch = self.watch();
        let plain = Plain::new(self, &watch);
        let share = self.shape.clusters / (self.workers as u64 * SHARES);
        let share = share.clamp(1, SHARE_CLUSTERS_MAX);
        watch.during(|| {
            while let Some(first) = self.claim(share) {
                for number in first..(first + share).min(self.shape.clusters) {
                    if let Some(fault) = plain.run(number) {
                        self.report((false, number), fault);
                    }
                }
            }
        });
    }

    /// One worker's part of a launch whose threads wait for each other.
    fn work_on_fibres(&self) {
        let watch = Rc::new(self.watch());
        let mut worker = Worker { grid: self, watch, active: vec![], spare: vec![], idle: vec![] };
        let watch = Rc::clone(&worker.watch);
        self.busy.fetch_add(1, Ordering::SeqCst);
        watch.during(|| worker.work());
        self.events.fetch_add(1, Ordering::SeqCst);
        self.busy.fetch_sub(1, Ordering::SeqCst);
        worker.idle.into_iter().for_each(Fibre::end);
    }

    /// A watch over one worker's threads.
    fn watch(&self) -> Watch {
        Watch::new(self.launch.kernel, self.options.stack_kib)
    }

    /// Takes `share` clusters to run; returns the first.
    fn claim(&self, share: u64) -> Option<u64> {
        if self.is_stopped.load(Ordering::Relaxed) {
            return None;
        }
        let first = self.next.fetch_add(share, Ordering::Relaxed);
        (first < self.shape.clusters).then_some(first)
    }

    /// Keeps `fault` if it comes before the one there is.
    fn report(&self, rank: Rank, fault: Fault) {
        // Clusters are claimed in order: those below a fault have all begun, so
        // stopping here cannot change which fault is the first.
        self.has_failed.store(true, Ordering::Relaxed);
        let is_panic = matches!(fault, Fault::Panic { .. });
        let panicked = self.panicked_clusters.fetch_add(u32::from(is_panic), Ordering::Relaxed);
        if !is_panic || panicked >= PANICKED_CLUSTERS_MAX {
            self.is_stopped.store(true, Ordering::Relaxed);
        }
        let mut first = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if first.as_ref().is_none_or(|(first, _)| rank < *first) {
            *first = Some((rank, fault));
        }
    }
}

/// One OS thread's share of a launch on fibres.
struct Worker<'a> {
    grid: &'a Grid<'a>,
    watch: Rc<Watch>,
    /// Clusters that have begun, in order.
    active: Vec<Runner>,
    /// Runners to be used again.
    spare: Vec<Runner>,
    /// Fibres between two threads.
    idle: Vec<Fibre>,
}

impl Worker<'_> {
    fn work(&mut self) {
        let mut has_progressed = true;
        let mut failed_since = None;
        loop {
            if let Some(number) = self.claim() {
                let spare = self.spare.pop();
                let mut runner = spare.unwrap_or_else(|| Runner::new(self.grid, &self.watch));
                runner.start(number);
                self.active.push(runner);
            } else if self.active.is_empty() {
                return;
            } else if !has_progressed && !self.wait() {
                return self.fail_stalled();
            }
            has_progressed = self.run_active();
            if self.is_overdue(&mut failed_since) {
                return self.fail_stalled();
            }
        }
    }

    /// Whether the launch has failed so long ago that the clusters still under
    /// way must be looping for something that the failed thread would have done.
    fn is_overdue(&self, failed_since: &mut Option<Instant>) -> bool {
        if failed_since.is_none() {
            let has_failed = self.grid.has_failed.load(Ordering::Relaxed)
                || self.active.iter().any(Runner::has_panicked);
            *failed_since = has_failed.then(Instant::now);
        }
        failed_since.is_some_and(|since| since.elapsed() > self.grid.options.spin_max)
    }

    /// Takes a cluster to begin, if there is one and it finds stacks. A worker
    /// with none under way always gets one: the number of workers is limited so.
    fn claim(&self) -> Option<u64> {
        let Grid { active_threads, shape, .. } = self.grid;
        let threads = shape.cluster_threads() as usize;
        let before = active_threads.fetch_add(threads, Ordering::Relaxed);
        let has_room = self.active.is_empty() || before + threads <= LAUNCH_STACKS_MAX;
        let number = has_room.then(|| self.grid.claim(1)).flatten();
        if number.is_none() {
            active_threads.fetch_sub(threads, Ordering::Relaxed);
        }
        number
    }

    /// Runs each active cluster until it cannot go on; returns whether anything
    /// happened.
    fn run_active(&mut self) -> bool {
        let mut any = false;
        let turns_max = TURNS << self.active.len().min(TURNS_DOUBLED_MAX);
        for mut runner in std::mem::take(&mut self.active) {
            runner.poll_again();
            let progress = runner.run(turns_max, &mut self.idle);
            any |= !matches!(progress, Progress::Unfinished { has_progressed: false });
            match progress {
                Progress::Done => self.finish(runner, false),
                Progress::Unfinished { .. } => self.active.push(runner),
            }
        }
        if any {
            self.grid.events.fetch_add(1, Ordering::SeqCst);
        }
        any
    }

    /// Looks again and again whether some thread can go on, until one could or
    /// it is clear that none ever can; returns whether one could.
    fn wait(&mut self) -> bool {
        let grid = self.grid;
        let mut seen = grid.events.load(Ordering::SeqCst);
        let mut since = Instant::now();
        let mut pause = Duration::ZERO;
        loop {
            if self.run_active() {
                return true;
            }
            let is_spinning = self.active.iter().any(Runner::is_spinning);
            let grace = if is_spinning { grid.options.spin_max } else { GRACE };
            // A worker counts as busy from before it looks until after it has
            // counted what it found, so nobody gives up in between.
            grid.busy.fetch_sub(1, Ordering::SeqCst);
            if is_spinning || pause.is_zero() {
                std::thread::yield_now();
            } else {
                std::thread::sleep(pause);
            }
            pause = (pause + PAUSE_STEP).min(PAUSE_MAX);
            let events = grid.events.load(Ordering::SeqCst);
            let is_quiet = grid.busy.load(Ordering::SeqCst) == 0;
            if events != seen {
                (seen, since, pause) = (events, Instant::now(), Duration::ZERO);
            } else if is_quiet && since.elapsed() > grace {
                grid.is_deadlocked.store(true, Ordering::SeqCst);
            }
            grid.busy.fetch_add(1, Ordering::SeqCst);
            if grid.is_deadlocked.load(Ordering::SeqCst) {
                return false;
            }
        }
    }

    /// Ends all active clusters, which wait for something that cannot happen.
    fn fail_stalled(&mut self) {
        let claimed = self.grid.next.load(Ordering::SeqCst).min(self.grid.shape.clusters);
        let unstarted =
            (self.grid.shape.clusters - claimed) * u64::from(self.grid.shape.cluster_blocks);
        for mut runner in std::mem::take(&mut self.active) {
            runner.fail_stalled(unstarted, &mut self.idle);
            self.finish(runner, true);
        }
    }

    /// Takes leave of a cluster whose threads have all ended.
    fn finish(&mut self, runner: Runner, was_stalled: bool) {
        let threads = self.grid.shape.cluster_threads() as usize;
        self.grid.active_threads.fetch_sub(threads, Ordering::Relaxed);
        if let Some(fault) = runner.take_fault() {
            let is_consequence = was_stalled && !matches!(fault, Fault::Panic { .. });
            self.grid.report((is_consequence, runner.number()), fault);
        }
        self.spare.push(runner);
    }
}

/// How long nothing may happen anywhere in a launch before waits for memory are
/// a deadlock: another launch or the host may still write that memory.
const GRACE: Duration = Duration::from_millis(200);
/// Half the switches (about a millisecond) after which a lone cluster gives way to
/// another one: its warps may be looping around an exchange until another block
/// has done something. Doubled for each cluster under way, since few kernels do.
const TURNS: u64 = 1 << 14;
const TURNS_DOUBLED_MAX: usize = 16;
const PAUSE_STEP: Duration = Duration::from_micros(5);
const PAUSE_MAX: Duration = Duration::from_millis(1);
/// Shares of a worker in a launch of plain loops, to even out their lengths.
const SHARES: u64 = 16;
/// Most clusters claimed at once.
const SHARE_CLUSTERS_MAX: u64 = 64;
/// Clusters with panics after which a launch begins no further ones.
const PANICKED_CLUSTERS_MAX: u32 = 256;
