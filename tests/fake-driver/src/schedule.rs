//! Enqueueing work and choosing what runs next.
//!
//! Nothing runs by itself unless the setting `background` asks for a thread: work
//! runs a piece at a time while somebody waits, now and then when somebody asks
//! or enqueues (the setting `eager`), always a piece of a random stream whose
//! turn may have come. For a while at a time, some streams are starved: they
//! run only if nothing else can.

use std::time::{Duration, Instant};

use crate::calls::IN_HOST_FUNCTION;
use crate::handles::{Code, Handle, Result};
use crate::objects::Queued;
use crate::races::{Clock, Use};
use crate::work::{GraphRun, HostCall, Work};
use crate::world::{Locked, World};

/// What one step of the scheduler did.
pub(crate) enum Step {
    Ran,
    /// The first work of this stream is a host function, to be run unlocked.
    Host(usize, HostCall),
    /// Nothing can run.
    Idle,
}

/// After how many steps the starved streams are chosen anew, on average.
const STARVE_STEPS: usize = 48;

impl World {
    /// Enqueues work on a stream, or adds it to the graph that the stream is
    /// captured into.
    ///
    /// # Errors
    ///
    /// Those of a broken capture.
    pub(crate) fn enqueue(&mut self, slot: usize, work: Work) -> Result {
        if self.streams[slot].capture.is_some() {
            return self.capture_node(slot, work);
        }
        self.push(slot, work, Vec::new());
        Ok(())
    }

    /// Enqueues work that comes after `after`; gives its number.
    pub(crate) fn push(&mut self, slot: usize, work: Work, mut after: Vec<(usize, u64)>) -> u64 {
        self.add_legacy(slot, &mut after);
        let host_version = self.host_version;
        if self.streams[slot].host_version != host_version {
            self.streams[slot].host_version = host_version;
            let host = &self.host;
            self.streams[slot].clock.join(host);
        }
        let number = self.streams[slot].enqueued + 1;
        let stream = &mut self.streams[slot];
        stream.enqueued = number;
        stream.clock.raise(slot, number);
        self.note_uses(slot, number, &work);
        let is_seen = matches!(work, Work::WriteValue { .. } | Work::Host(_) | Work::Graph(_));
        let clock = is_seen.then(|| self.streams[slot].clock.clone());
        let stream = &mut self.streams[slot];
        if stream.queue.is_empty() && !stream.is_busy {
            self.active.push(slot);
        }
        self.streams[slot].queue.push_back(Queued { number, after, work, clock });
        number
    }

    /// Makes later work of a stream come after work of others.
    pub(crate) fn push_wait(&mut self, slot: usize, on: (usize, u64), clock: &Clock) {
        self.streams[slot].clock.join(clock);
        let after = if on.0 == slot { Vec::new() } else { vec![on] };
        self.push(slot, Work::Empty, after);
    }

    /// The legacy default stream waits for all blocking streams of its context,
    /// and they for it.
    fn add_legacy(&mut self, slot: usize, after: &mut Vec<(usize, u64)>) {
        let context = self.streams[slot].context;
        let Some(&legacy) = self.legacy.get(&context) else { return };
        if !self.streams[slot].is_blocking {
            return;
        }
        let others: Vec<usize> = if slot == legacy {
            let all = self.streams.iter().enumerate();
            let blocking = all.filter(|(_, s)| s.context == context && s.is_blocking);
            blocking.map(|(other, _)| other).filter(|&other| other != slot).collect()
        } else {
            vec![legacy]
        };
        for other in others {
            after.push((other, self.streams[other].enqueued));
            let clock = self.streams[other].clock.clone();
            self.streams[slot].clock.join(&clock);
        }
    }

    /// Notes what work touches, and reports races and uses after the free.
    fn note_uses(&mut self, slot: usize, number: u64, work: &Work) {
        let spans = self.spans(work);
        let is_free = matches!(work, Work::Free { .. });
        for span in spans.into_iter().filter(|span| span.bytes > 0) {
            let Some(range) = self.memory.find(span.address) else { continue };
            let is_late = range.is_doomed && !is_free;
            let new = Use {
                start: span.address,
                end: span.address + span.bytes,
                stream: slot,
                number,
                is_write: span.is_write,
                what: work.name(),
            };
            let clock = &self.streams[slot].clock;
            let conflict = range.history.note(new, clock, &self.host);
            let origin = range.origin.name();
            if is_late {
                let what = work.name();
                self.violate(format!("{what} uses {origin} whose free was enqueued before"));
            }
            if let Some(old) = conflict {
                self.violate(format!(
                    "race over {} bytes of {origin}: {} of stream slot {slot} (number {number}, {}) does not come after {} of stream slot {} (number {}, {})",
                    span.bytes,
                    work.name(),
                    if span.is_write { "writes" } else { "reads" },
                    old.what,
                    old.stream,
                    old.number,
                    if old.is_write { "writes" } else { "reads" },
                ));
            }
        }
    }

    /// Whether the first work of a stream may run.
    fn is_ready(&mut self, slot: usize) -> bool {
        let stream = &self.streams[slot];
        if stream.is_busy {
            return false;
        }
        let Some(first) = stream.queue.front() else { return false };
        let is_after = first.after.iter().all(|&(other, number)| self.is_over(other, number));
        if let Work::WaitValue { address, value, width, condition } = first.work {
            return is_after && self.is_value_there(address, value, width, condition);
        }
        is_after
    }

    /// Whether work has ended. Work of a lost or destroyed context has.
    pub(crate) fn is_over(&self, slot: usize, number: u64) -> bool {
        let stream = &self.streams[slot];
        stream.completed >= number || (stream.queue.is_empty() && !stream.is_busy)
    }

    /// Chooses a stream that can run.
    fn choose(&mut self) -> Option<usize> {
        if self.random.once_in(STARVE_STEPS) {
            let active = self.active.clone();
            self.starved = active.into_iter().filter(|_| self.random.once_in(3)).collect();
        }
        for is_starved in [false, true] {
            // A few tries before looking at every stream.
            for _ in 0..4 {
                let slot = self.active[self.random.below(self.active.len())];
                if self.starved.contains(&slot) == is_starved && self.is_ready(slot) {
                    return Some(slot);
                }
            }
            let start = self.random.below(self.active.len());
            for i in 0..self.active.len() {
                let slot = self.active[(start + i) % self.active.len()];
                if self.starved.contains(&slot) == is_starved && self.is_ready(slot) {
                    return Some(slot);
                }
            }
        }
        None
    }

    /// Runs one piece of work.
    pub(crate) fn step(&mut self) -> Step {
        if self.active.is_empty() {
            return Step::Idle;
        }
        let Some(slot) = self.choose() else { return Step::Idle };
        self.steps += 1;
        self.clock_ns += 500 + self.random.next() % 4096;
        let first = self.streams[slot].queue.front_mut().expect("a ready stream has work");
        match &mut first.work {
            Work::Host(call) => {
                let call = *call;
                self.streams[slot].is_busy = true;
                return Step::Host(slot, call);
            }
            Work::Graph(run) => {
                let Some(index) = pick_node(run, self.random.next()) else {
                    self.finish(slot);
                    return Step::Ran;
                };
                run.is_done[index] = true;
                let work = run.nodes[index].work.clone();
                if let Work::Host(call) = work {
                    self.streams[slot].is_busy = true;
                    return Step::Host(slot, call);
                }
                self.run(slot, &work);
            }
            work => {
                let work = std::mem::replace(work, Work::Empty);
                if self.run(slot, &work) {
                    self.finish(slot);
                }
            }
        }
        Step::Ran
    }

    /// Does the work; false if the context was lost over it.
    fn run(&mut self, slot: usize, work: &Work) -> bool {
        match self.perform(work) {
            Ok(()) => true,
            Err(code) => {
                let context = self.streams[slot].context;
                self.lose(context, code);
                false
            }
        }
    }

    /// Notes that the first work of a stream has ended.
    pub(crate) fn finish(&mut self, slot: usize) {
        let stream = &mut self.streams[slot];
        let Some(done) = stream.queue.pop_front() else { return };
        stream.completed = done.number;
        if stream.queue.is_empty() {
            self.active.retain(|&other| other != slot);
        }
        if let Some(clock) = done.clock {
            self.observe(&clock);
        }
    }
}

/// A node of a graph that may run next, or `None` when all have run.
fn pick_node(run: &GraphRun, random: u64) -> Option<usize> {
    let is_ready = |&index: &usize| {
        !run.is_done[index] && run.nodes[index].after.iter().all(|&before| run.is_done[before])
    };
    let ready: Vec<usize> = (0..run.nodes.len()).filter(is_ready).collect();
    (!ready.is_empty()).then(|| ready[random as usize % ready.len()])
}

/// A wait that gets nowhere for so long is reported.
const STUCK_AFTER: Duration = Duration::from_secs(3);

impl Locked {
    /// One step, host functions included. False if nothing can run.
    pub(crate) fn advance(&mut self) -> bool {
        match self.step() {
            Step::Idle => false,
            Step::Ran => true,
            Step::Host(slot, call) => {
                self.unlocked(|| {
                    IN_HOST_FUNCTION.set(true);
                    // SAFETY: whoever enqueued the function vouches for it and
                    // its argument.
                    unsafe { (call.function)(std::ptr::with_exposed_provenance_mut(call.data)) };
                    IN_HOST_FUNCTION.set(false);
                });
                self.streams[slot].is_busy = false;
                let is_graph = matches!(
                    self.streams[slot].queue.front().map(|first| &first.work),
                    Some(Work::Graph(_))
                );
                if is_graph {
                    let clock = self.streams[slot].queue.front().and_then(|f| f.clock.clone());
                    if let Some(clock) = clock {
                        self.observe(&clock);
                    }
                } else {
                    self.finish(slot);
                }
                self.wake();
                true
            }
        }
    }

    /// Runs work until `is_done` says so.
    ///
    /// # Errors
    ///
    /// The fault of the context.
    pub(crate) fn drive(
        &mut self,
        context: Handle,
        mut is_done: impl FnMut(&World) -> bool,
    ) -> Result<(), Code> {
        let mut stuck_since: Option<Instant> = None;
        let mut is_reported = false;
        loop {
            match self.contexts.get(&context) {
                Some(context) => context.fault.map_or(Ok(()), Err)?,
                None => return Ok(()),
            }
            if is_done(self) {
                return Ok(());
            }
            if self.advance() {
                stuck_since = None;
                continue;
            }
            let since = *stuck_since.get_or_insert_with(Instant::now);
            if since.elapsed() > STUCK_AFTER && !is_reported {
                is_reported = true;
                let text = self.describe_stuck();
                self.violate(text);
            }
            self.rest();
        }
    }

    fn describe_stuck(&self) -> String {
        let heads = self.active.iter().map(|&slot| {
            let stream = &self.streams[slot];
            let first = stream.queue.front().map_or("a host function", |first| first.work.name());
            format!("slot {slot} stands before {first}")
        });
        let heads: Vec<String> = heads.collect();
        format!("a wait is stuck: {}", heads.join("; "))
    }

    /// Runs a little, as the settings say, after a call that enqueued or asked.
    pub(crate) fn nudge(&mut self) {
        let eager = self.settings.eager;
        let is_still = self.settings.is_held || eager == 0 || self.active.is_empty();
        if is_still || !self.random.once_in(eager) {
            return;
        }
        for _ in 0..=self.random.below(6) {
            if !self.advance() {
                return;
            }
        }
    }

    /// A step for somebody who asks whether work has ended: asking for long must
    /// come to an end.
    pub(crate) fn poke(&mut self) {
        if self.settings.is_held {
            return;
        }
        for _ in 0..self.random.below(3) {
            if !self.advance() {
                return;
            }
        }
    }
}

/// The thread of the setting `background`.
pub(crate) fn run_in_background() {
    loop {
        std::thread::sleep(Duration::from_micros(50));
        let mut world = crate::world::lock();
        if world.settings.is_held {
            continue;
        }
        let mut steps = world.random.below(8);
        while steps > 0 && world.advance() {
            steps -= 1;
        }
        world.wake();
    }
}
