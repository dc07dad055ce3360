//! Runs one cluster of a synchronising kernel: picks threads, switches to their
//! fibres, and ends the fibres of a cluster that has failed.

use std::rc::Rc;

use raddle_device::host::set_current;

use crate::cluster::{Cluster, Step, Wait};
use crate::fault::Fault;
use crate::fibre::{Fibre, Resume};
use crate::grid::Grid;
use crate::panics::Watch;

/// A cluster with the fibres of its threads.
pub(crate) struct Runner {
    cluster: Box<Cluster>,
    fibres: Box<[Option<Fibre>]>,
}

/// How far a cluster came.
pub(crate) enum Progress {
    /// All threads have exited, or the cluster has failed.
    Done,
    /// All threads wait, some of them for memory to change, or they have run
    /// for so long that others should have a turn.
    Unfinished {
        /// Whether anything happened since the call.
        has_progressed: bool,
    },
}

impl Runner {
    /// A runner for clusters of `grid`.
    pub fn new(grid: &Grid<'_>, watch: &Rc<Watch>) -> Self {
        let cluster = Box::new(Cluster::new(grid, Rc::clone(watch)));
        let fibres = cluster.slots.iter().map(|_| None).collect();
        Self { cluster, fibres }
    }

    /// Begins cluster number `number` of the grid.
    pub fn start(&mut self, number: u64) {
        self.cluster.reset(number);
    }

    /// Number of the present cluster.
    pub fn number(&self) -> u64 {
        self.cluster.number.get()
    }

    /// Runs until all threads have exited or wait, or for `turns_max` switches.
    /// Fibres come from and go to `idle`.
    pub fn run(&mut self, turns_max: u64, idle: &mut Vec<Fibre>) -> Progress {
        let before = self.cluster.events();
        let mut turns = 0;
        let progress = loop {
            if self.cluster.is_cancelled.get() {
                self.cancel(idle);
                break Progress::Done;
            }
            match self.cluster.next() {
                Step::Run(thread) => {
                    self.resume(thread, idle);
                    turns += 1;
                    if turns == turns_max {
                        break Progress::Unfinished { has_progressed: true };
                    }
                }
                Step::Done => break Progress::Done,
                Step::Stalled if self.cluster.is_polling() => {
                    break Progress::Unfinished { has_progressed: self.cluster.events() != before };
                }
                // Only threads of this cluster could have released these.
                Step::Stalled => self.cluster.set_fault(self.cluster.stall_fault(0)),
            }
        };
        set_current(std::ptr::null());
        progress
    }

    /// Lets polling threads look again at the next `run`.
    pub fn poll_again(&self) {
        self.cluster.poll_again();
    }

    /// Ends a stalled cluster for good.
    pub fn fail_stalled(&mut self, blocks_unstarted: u64, idle: &mut Vec<Fibre>) {
        self.cluster.set_fault(self.cluster.stall_fault(blocks_unstarted));
        self.cancel(idle);
        set_current(std::ptr::null());
    }

    /// Whether a thread waits by yielding again and again.
    pub fn is_spinning(&self) -> bool {
        self.cluster.slots.iter().any(|slot| matches!(slot.wait.get(), Wait::Yielded))
    }

    /// Whether a thread of the present cluster has panicked.
    pub fn has_panicked(&self) -> bool {
        self.cluster.has_panicked()
    }

    /// What went wrong in the present cluster.
    pub fn take_fault(&self) -> Option<Fault> {
        self.cluster.take_fault()
    }

    /// Switches to `thread` until it waits or exits.
    ///
    /// Inlined, so that no return stands between two switches: the processor
    /// predicts returns by the calls before them, which another fibre made. As it
    /// is, the next fibre returns through the calls that the last one made, and
    /// fibres mostly come from the same places.
    #[inline(always)]
    fn resume(&mut self, thread: usize, idle: &mut Vec<Fibre>) {
        let mut resume = Resume::Continue;
        if self.fibres[thread].is_none() {
            match self.start_thread(thread, idle) {
                Ok(start) => resume = start,
                Err(fault) => return self.cluster.set_fault(fault),
            }
        }
        let cluster = &*self.cluster;
        let Some(fibre) = &mut self.fibres[thread] else { return };
        cluster.enter(thread);
        cluster.watch.set_stack(fibre.stack());
        cluster.watch.is_running.set(true);
        fibre.resume(resume);
        cluster.watch.is_running.set(false);
        // The fibre may have gone on to threads that had not started.
        let last = cluster.running.get();
        if matches!(cluster.slots[last].wait.get(), Wait::Exited) {
            idle.extend(self.fibres[thread].take());
        } else if last != thread {
            self.fibres[last] = self.fibres[thread].take();
        }
    }

    /// Gives `thread` a fibre and its place in the grid.
    #[inline(never)]
    fn start_thread(&mut self, thread: usize, idle: &mut Vec<Fibre>) -> Result<Resume, Fault> {
        let cluster = &*self.cluster;
        let fibre = idle.pop().map_or_else(|| Fibre::new(cluster.options.stack_kib), Ok)?;
        self.fibres[thread] = Some(fibre);
        cluster.place(thread);
        Ok(Resume::Start { cluster, thread })
    }

    /// Unwinds every thread that has started. Where panics abort, their fibres
    /// are left as they are for ever instead: their memory may be in use.
    fn cancel(&mut self, idle: &mut Vec<Fibre>) {
        for thread in 0..self.fibres.len() {
            if cfg!(panic = "abort") {
                // Nobody frees these: see the function's comment.
                let _ = std::mem::ManuallyDrop::new(self.fibres[thread].take());
            }
            while self.fibres[thread].is_some() {
                self.resume(thread, idle);
            }
        }
    }
}
