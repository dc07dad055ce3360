//! The poller without a GPU: a thread that writes completion words stands for one.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::task::{Context, Poll};

use super::*;

/// A queue whose word somebody else writes.
#[derive(Default)]
struct Simulated {
    signal: Signal,
    is_watched: AtomicBool,
    word: AtomicU64,
    /// When the word was written last, in nanoseconds of the test.
    written_ns: AtomicU64,
    /// How often the poller asked whether the device lives.
    probes: AtomicUsize,
    is_broken: AtomicBool,
}

#[derive(Clone)]
struct Handle(Arc<Simulated>);

impl Watched for Handle {
    type Fault = ();

    fn signal(&self) -> &Signal {
        &self.0.signal
    }

    fn is_watched(&self) -> &AtomicBool {
        &self.0.is_watched
    }

    fn observe(&self) -> Result<u64, ()> {
        Ok(self.0.word.load(Ordering::Acquire))
    }

    fn probe(&self) -> Result<(), ()> {
        self.0.probes.fetch_add(1, Ordering::Relaxed);
        if self.0.is_broken.load(Ordering::Acquire) { Err(()) } else { Ok(()) }
    }

    fn settle(&self, completed: u64, woken: &mut Woken) {
        self.0.signal.advance(completed, woken);
    }

    fn fail(&self, (): (), woken: &mut Woken) {
        self.0.signal.advance(u64::MAX, woken);
    }
}

/// A wait for a simulated queue, as `Completion` does it.
struct Wait {
    poller: Arc<Poller<Handle>>,
    queue: Handle,
    sequence: u64,
    ticket: Option<u64>,
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (signal, sequence) = (&self.queue.0.signal, self.sequence);
        if signal.completed() >= sequence {
            return Poll::Ready(());
        }
        let Some(ticket) = signal.register(sequence, self.ticket, context.waker()) else {
            return Poll::Ready(());
        };
        let queue = self.queue.clone();
        self.poller.watch(&self.queue.0.is_watched, || queue).unwrap();
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.queue.0.signal.cancel(self.sequence, ticket);
        }
    }
}

struct Rig {
    poller: Arc<Poller<Handle>>,
    queues: Vec<Handle>,
    start: Instant,
}

impl Rig {
    fn new(queues: usize) -> Self {
        let queues = (0..queues).map(|_| Handle(Arc::default())).collect();
        Self { poller: Arc::default(), queues, start: Instant::now() }
    }

    fn wait(&self, queue: usize, sequence: u64) -> Wait {
        let queue = self.queues[queue].clone();
        Wait { poller: Arc::clone(&self.poller), queue, sequence, ticket: None }
    }

    fn complete(&self, queue: usize, sequence: u64) {
        let queue = &self.queues[queue].0;
        queue.written_ns.store(self.start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        queue.word.store(sequence, Ordering::Release);
    }
}

fn tokio(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_time()
        .build()
        .unwrap()
}

#[test]
fn waiters_are_woken_when_their_work_ends_and_not_before() {
    let rig = Rig::new(1);
    let runtime = tokio(2);
    let early = runtime.spawn(rig.wait(0, 1));
    let late = runtime.spawn(rig.wait(0, 2));
    rig.complete(0, 1);
    runtime.block_on(early).unwrap();
    assert!(!late.is_finished());
    rig.complete(0, 2);
    runtime.block_on(late).unwrap();
}

#[test]
fn a_queue_is_handed_in_again_after_it_was_given_up() {
    let rig = Rig::new(1);
    let runtime = tokio(1);
    for sequence in 1..=200 {
        let wait = runtime.spawn(rig.wait(0, sequence));
        rig.complete(0, sequence);
        runtime.block_on(wait).unwrap();
    }
}

#[test]
fn waits_that_are_dropped_leave_the_poller_idle() {
    let rig = Rig::new(1);
    let runtime = tokio(1);
    let wait = rig.wait(0, 1);
    let polled = runtime.block_on(async {
        let mut wait = wait;
        let timed = tokio::time::timeout(Duration::from_millis(1), &mut wait).await;
        timed.is_err()
    });
    assert!(polled);
    let deadline = Instant::now() + Duration::from_secs(20);
    while rig.queues[0].0.is_watched.load(Ordering::SeqCst) {
        assert!(Instant::now() < deadline, "the poller still has a queue that nobody awaits");
        std::thread::yield_now();
    }
}

#[test]
fn a_fault_resolves_every_waiter() {
    let rig = Rig::new(3);
    let runtime = tokio(2);
    let waits: Vec<_> = (0..30).map(|i| runtime.spawn(rig.wait(i % 3, 1 + i as u64))).collect();
    for queue in &rig.queues {
        queue.0.is_broken.store(true, Ordering::Release);
    }
    for wait in waits {
        runtime.block_on(wait).unwrap();
    }
    // Whoever comes later is told at once.
    runtime.block_on(rig.wait(1, 1000));
}

#[test]
fn a_long_wait_costs_next_to_nothing() {
    let rig = Rig::new(1);
    let runtime = tokio(1);
    let wait = runtime.spawn(rig.wait(0, 1));
    // The poller asks after the device every few milliseconds, and wakes for little
    // else: it would be thousands of passes if it spun.
    let queue = &rig.queues[0].0;
    let deadline = Instant::now() + Duration::from_secs(60);
    while queue.probes.load(Ordering::Relaxed) < 20 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let mut pace = Pace::new();
    let start = pace.since;
    pace.typical = SPIN_MIN;
    let (mut now, mut wakes) = (start, 0u32);
    while now - start < Duration::from_secs(10) {
        wakes += 1;
        now += pace.pause(now).unwrap_or(Duration::from_micros(1));
    }
    assert!(wakes < 4000, "{wakes} wake-ups in ten seconds");
    rig.complete(0, 1);
    runtime.block_on(wait).unwrap();
}

/// The load: 100,000 waits on 64 queues and 8 workers. Prints how late the
/// waiters are and how long a heartbeat is delayed; a shared machine gives no
/// time that could be asserted on.
#[test]
fn a_hundred_thousand_waits_all_end() {
    const QUEUES: usize = 64;
    const WAITS: usize = 100_000;
    let rig = Arc::new(Rig::new(QUEUES));
    let runtime = tokio(8);
    let done = Arc::new(AtomicBool::new(false));
    let heart = runtime.spawn({
        let done = Arc::clone(&done);
        async move {
            let mut worst = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let before = Instant::now();
                tokio::task::yield_now().await;
                worst = worst.max(before.elapsed());
            }
            worst
        }
    });
    let tasks: Vec<_> = (0..WAITS)
        .map(|i| {
            let rig = Arc::clone(&rig);
            runtime.spawn(async move {
                let queue = i % QUEUES;
                rig.wait(queue, (i / QUEUES) as u64 + 1).await;
                let written = rig.queues[queue].0.written_ns.load(Ordering::Relaxed);
                (rig.start.elapsed().as_nanos() as u64).saturating_sub(written)
            })
        })
        .collect();
    let device = std::thread::spawn({
        let rig = Arc::clone(&rig);
        move || {
            for sequence in 1..=WAITS.div_ceil(QUEUES) as u64 {
                for queue in 0..QUEUES {
                    rig.complete(queue, sequence);
                }
                std::thread::yield_now();
            }
        }
    });
    let mut late: Vec<u64> =
        tasks.into_iter().map(|task| runtime.block_on(task).unwrap()).collect();
    device.join().unwrap();
    done.store(true, Ordering::Relaxed);
    let worst = runtime.block_on(heart).unwrap();
    late.sort_unstable();
    println!(
        "{WAITS} waits on {QUEUES} queues: woken {:.1} us after the last word (median), heartbeat \
         delayed {:.1} us at most",
        late[late.len() / 2] as f64 / 1e3,
        worst.as_secs_f64() * 1e6,
    );
    assert_eq!(late.len(), WAITS);
    assert!(rig.queues.iter().all(|queue| !queue.0.signal.is_awaited()));
}
