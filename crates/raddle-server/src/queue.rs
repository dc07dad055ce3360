//! The bounded queue in front of a version's instances, and how batches are taken
//! from it.
//!
//! There is no batcher thread: an instance that is idle takes the batch itself, so a
//! request is handed over once. Requests of other shapes than the first one's are
//! left for the next batch. A request that is cancelled gives its place back at once,
//! by dropping its [`Ticket`].
//!
//! Invariant: `rows` is the sum of the waiting requests' rows, and nobody sleeps in
//! `take` while a batch is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::Batching;

/// What waits.
pub trait Waiting {
    /// Rows in a batch.
    fn rows(&self) -> usize;
    /// Requests of the same shape can share a batch.
    fn shape(&self) -> u64;
    /// When it is no use any more.
    fn deadline(&self) -> Option<Instant>;
}

/// Priority (1 is the highest) and order of arrival.
type Place = (u64, u64);

/// A bounded queue.
pub struct Queue<T: Waiting> {
    state: Mutex<State<T>>,
    /// Wakes an instance that found nothing.
    work: Condvar,
    /// Wakes an instance that waits for its batch to fill.
    fill: Condvar,
    batching: Batching,
    /// Most rows of a batch; 0 if requests are not put together.
    rows_max: usize,
    instances: usize,
}

struct State<T> {
    waiting: BTreeMap<Place, (Instant, T)>,
    rows: usize,
    arrivals: u64,
    is_closed: bool,
    /// Instances that sleep since they found nothing.
    idle: usize,
    /// Rows that the instance that sleeps for its batch to fill waits for.
    wanted: Option<usize>,
    /// Time that an instance takes for a row lately, in seconds.
    row_seconds: f64,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There are as many as may wait; try again after this time.
    Full(Duration),
    /// It would not be begun in time; the queue is this long.
    TooLate(Duration),
    /// The version is being unloaded.
    Closed,
}

/// A place in the queue; given back when dropped.
pub struct Ticket<T: Waiting> {
    queue: Arc<Queue<T>>,
    place: Place,
}

impl<T: Waiting> Drop for Ticket<T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        // A request that an instance took is no longer here.
        let left = state.waiting.remove(&self.place);
        if let Some((_, request)) = &left {
            state.rows -= request.rows();
        }
        drop(state);
        // The request's own drop may take time and locks.
        drop(left);
    }
}

/// Requests that are run at once, with the times when they came.
pub type Taken<T> = Vec<(Instant, T)>;

impl<T: Waiting> Queue<T> {
    /// An empty queue for batches of `rows_max` rows (0: one request each).
    pub fn new(batching: Batching, rows_max: usize, instances: usize) -> Self {
        let state = State {
            waiting: BTreeMap::new(),
            rows: 0,
            arrivals: 0,
            is_closed: false,
            idle: 0,
            wanted: None,
            row_seconds: 0.0,
        };
        let rows_max = if batching.is_dynamic { rows_max } else { 0 };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            fill: Condvar::new(),
            batching,
            rows_max,
            instances: instances.max(1),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No code of others runs under the lock, so a poisoned one is still sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request at the end of its priority; gives it back if there is no room.
    ///
    /// ## Errors
    /// See [`Refusal`].
    pub fn push(self: &Arc<Self>, priority: u64, request: T) -> Result<Ticket<T>, (Refusal, T)> {
        let now = Instant::now();
        let mut state = self.lock();
        let wait = || {
            let seconds = state.row_seconds * state.rows as f64 / self.instances as f64;
            Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
        };
        if state.is_closed {
            return Err((Refusal::Closed, request));
        }
        if state.waiting.len() >= self.batching.queue_size {
            let after = wait().max(Duration::from_millis(1));
            return Err((Refusal::Full(after), request));
        }
        if let Some(deadline) = request.deadline() {
            let wait = wait();
            if now + wait > deadline {
                return Err((Refusal::TooLate(wait), request));
            }
        }
        let levels = self.batching.priority_levels;
        let priority = match priority {
            _ if levels == 0 => 0,
            0 => self.batching.default_priority,
            priority => priority.min(levels),
        };
        state.arrivals += 1;
        let place = (priority, state.arrivals);
        state.rows += request.rows();
        state.waiting.insert(place, (now, request));
        // An instance that waits for its batch to fill takes this one with it, so no
        // other is woken until the batch is full.
        match state.wanted {
            Some(wanted) if state.rows < wanted => {}
            Some(_) => self.fill.notify_one(),
            None if state.idle > 0 => self.work.notify_one(),
            None => {}
        }
        drop(state);
        Ok(Ticket { queue: Arc::clone(self), place })
    }

    /// Waits for a batch and takes it; `None` when the queue is closed and empty.
    pub fn take(&self) -> Option<Taken<T>> {
        let mut state = self.lock();
        loop {
            if state.waiting.is_empty() {
                if state.is_closed {
                    return None;
                }
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            }
            match self.time_to_fill(&state) {
                Some(time) if state.wanted.is_none() => {
                    state.wanted = Some(self.target());
                    let woken = self.fill.wait_timeout(state, time);
                    state = woken.unwrap_or_else(PoisonError::into_inner).0;
                    state.wanted = None;
                }
                // Somebody else fills a batch already, and this would only be in the way.
                Some(_) => {
                    state.idle += 1;
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.idle -= 1;
                }
                None => return Some(self.cut(state)),
            }
        }
    }

    /// Rows that are worth waiting for.
    fn target(&self) -> usize {
        self.batching.preferred_sizes.last().copied().unwrap_or(self.rows_max).max(1)
    }

    /// How long to wait for more requests; `None` if the batch is ready.
    fn time_to_fill(&self, state: &State<T>) -> Option<Duration> {
        if self.batching.delay.is_zero() || state.is_closed || state.rows >= self.target() {
            return None;
        }
        let oldest = state.waiting.values().map(|(came, _)| *came).min()?;
        let left = (oldest + self.batching.delay).saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Takes the batch of the first request's shape.
    fn cut(&self, mut state: MutexGuard<'_, State<T>>) -> Taken<T> {
        let mut places = Vec::new();
        let mut rows = 0;
        let mut shape = None;
        // Sizes reached on the way that are preferred, as numbers of requests.
        let mut preferred = 0;
        for (place, (_, request)) in &state.waiting {
            let same = *shape.get_or_insert(request.shape()) == request.shape();
            let is_first = places.is_empty();
            if !same || (!is_first && rows + request.rows() > self.rows_max) {
                if same {
                    break;
                }
                continue;
            }
            rows += request.rows();
            places.push(*place);
            if self.batching.preferred_sizes.contains(&rows) {
                preferred = places.len();
            }
            if rows >= self.rows_max {
                break;
            }
        }
        if preferred > 0 {
            places.truncate(preferred);
        }
        let taken: Taken<T> =
            places.iter().filter_map(|place| state.waiting.remove(place)).collect();
        state.rows -= taken.iter().map(|(_, request)| request.rows()).sum::<usize>();
        if !state.waiting.is_empty() && state.idle > 0 {
            self.work.notify_one();
        }
        taken
    }

    /// Notes how long a batch took, for estimates of the wait.
    pub fn note_batch(&self, rows: usize, took: Duration) {
        let seconds = took.as_secs_f64() / rows.max(1) as f64;
        let mut state = self.lock();
        let is_first = state.row_seconds == 0.0;
        let share = if is_first { 1.0 } else { 0.1 };
        state.row_seconds += (seconds - state.row_seconds) * share;
    }

    /// Takes no more requests; those that wait are still run.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_all();
        self.fill.notify_all();
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Requests that came before `time` and still wait.
    pub fn older_than(&self, time: Instant) -> usize {
        self.lock().waiting.values().filter(|(came, _)| *came < time).count()
    }
}

#[cfg(test)]
mod tests;
