//! What is counted of each version: requests, stages, batches and latencies, as
//! atomics that a request adds to and that nobody has to lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::Reason;

/// Buckets of an octave; a bucket is at most 1/8 wide.
const PER_OCTAVE: usize = 8;
/// Exponent of the smallest bucket's upper end in nanoseconds: 8.2 us.
const SMALLEST: u32 = 13;
/// Octaves above it, up to 137 s.
const OCTAVES: usize = 24;
/// All buckets, with one below and one above.
const BUCKETS: usize = OCTAVES * PER_OCTAVE + 2;

/// Count and total time of a stage.
#[derive(Debug, Default)]
pub struct Stage {
    count: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Stage {
    /// Adds one.
    pub fn add(&self, time: Duration) {
        self.add_many(1, time);
    }

    /// Adds several of the same time.
    pub fn add_many(&self, count: u64, time: Duration) {
        self.count.fetch_add(count, Relaxed);
        self.nanoseconds.fetch_add(count * nanoseconds(time), Relaxed);
    }

    /// Count and nanoseconds.
    pub fn get(&self) -> (u64, u64) {
        (self.count.load(Relaxed), self.nanoseconds.load(Relaxed))
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Latencies in buckets that grow with the latency.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKETS], nanoseconds: AtomicU64::new(0) }
    }
}

/// A histogram's counts at a moment; differences of two are the time between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Counts {
    buckets: Vec<u64>,
    /// Sum of all latencies.
    pub nanoseconds: u64,
}

impl Histogram {
    /// Adds a latency.
    pub fn add(&self, time: Duration) {
        let nanoseconds = nanoseconds(time);
        self.buckets[bucket(nanoseconds)].fetch_add(1, Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Relaxed);
    }

    /// The counts now.
    pub fn counts(&self) -> Counts {
        Counts {
            buckets: self.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect(),
            nanoseconds: self.nanoseconds.load(Relaxed),
        }
    }
}

impl Default for Counts {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], nanoseconds: 0 }
    }
}

impl Counts {
    /// Number of latencies.
    pub fn total(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&before.buckets);
        Self {
            buckets: pairs.map(|(now, before)| now.saturating_sub(*before)).collect(),
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
        }
    }

    /// The latencies of both.
    pub fn plus(&self, other: &Self) -> Self {
        let pairs = self.buckets.iter().zip(&other.buckets);
        Self {
            buckets: pairs.map(|(one, two)| one + two).collect(),
            nanoseconds: self.nanoseconds + other.nanoseconds,
        }
    }

    /// The latency that a share of all is not above, to the end of its bucket; zero
    /// if there are none.
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.total() as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(end(at));
            }
        }
        Duration::ZERO
    }

    /// Upper ends of octaves in seconds with the number of latencies below, for
    /// Prometheus.
    pub fn octaves(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut seen = 0;
        let chunks = std::iter::once(&self.buckets[..1])
            .chain(self.buckets[1..BUCKETS - 1].chunks(PER_OCTAVE));
        chunks.enumerate().map(move |(octave, counts)| {
            seen += counts.iter().sum::<u64>();
            ((1u64 << (SMALLEST as usize + octave)) as f64 / 1e9, seen)
        })
    }
}

/// The bucket of a latency.
fn bucket(nanoseconds: u64) -> usize {
    let exponent = nanoseconds.max(1).ilog2();
    if exponent < SMALLEST {
        return 0;
    }
    let octave = (exponent - SMALLEST) as usize;
    if octave >= OCTAVES {
        return BUCKETS - 1;
    }
    let within = (nanoseconds >> (exponent - 3)) as usize % PER_OCTAVE;
    1 + octave * PER_OCTAVE + within
}

/// Upper end of a bucket in nanoseconds.
fn end(bucket: usize) -> u64 {
    let (octave, within) = match bucket {
        0 => return 1 << SMALLEST,
        _ if bucket == BUCKETS - 1 => return 1 << (SMALLEST as usize + OCTAVES),
        _ => ((bucket - 1) / PER_OCTAVE, (bucket - 1) % PER_OCTAVE),
    };
    let begin = 1u64 << (SMALLEST as usize + octave);
    begin + begin / PER_OCTAVE as u64 * (within as u64 + 1)
}

/// Everything that is counted of a version.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests that were answered, with their whole time.
    pub success: Stage,
    /// Requests that failed, with their whole time.
    pub fail: Stage,
    failures: [AtomicU64; Reason::ALL.len()],
    /// Time in the queue.
    pub queue: Stage,
    /// Time to bring inputs to the device.
    pub copy_in: Stage,
    /// Time to compute.
    pub compute: Stage,
    /// Time to bring outputs back.
    pub copy_out: Stage,
    /// Rows that were computed.
    pub rows: AtomicU64,
    /// Batches that were computed.
    pub batches: AtomicU64,
    /// Requests under way, waiting ones included.
    pub pending: AtomicU64,
    /// Milliseconds since 1970 of the last answer.
    pub last_ms: AtomicU64,
    /// Time of answered requests, from the last byte in to the answer.
    pub latency: Histogram,
    /// Time in the queue.
    pub queue_latency: Histogram,
    /// Time to copy in and out.
    pub copy_latency: Histogram,
    /// Time to compute.
    pub compute_latency: Histogram,
    sizes: Mutex<BTreeMap<usize, BatchSize>>,
}

/// What is counted of batches of one size.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize {
    /// Batches.
    pub count: u64,
    /// Nanoseconds to bring inputs to the device.
    pub copy_in: u64,
    /// Nanoseconds to compute.
    pub compute: u64,
    /// Nanoseconds to bring outputs back.
    pub copy_out: u64,
}

/// Times of the stages of a batch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Times {
    /// To bring inputs to the device.
    pub copy_in: Duration,
    /// To compute.
    pub compute: Duration,
    /// To bring outputs back.
    pub copy_out: Duration,
}

impl Stats {
    /// Notes a batch that was computed.
    pub fn add_batch(&self, requests: u64, rows: usize, times: Times) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.batches.fetch_add(1, Relaxed);
        self.copy_in.add_many(requests, times.copy_in);
        self.compute.add_many(requests, times.compute);
        self.copy_out.add_many(requests, times.copy_out);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_ms.store(now.as_millis() as u64, Relaxed);
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let size = sizes.entry(rows).or_default();
        size.count += 1;
        size.copy_in += nanoseconds(times.copy_in);
        size.compute += nanoseconds(times.compute);
        size.copy_out += nanoseconds(times.copy_out);
    }

    /// Notes a failure.
    pub fn add_failure(&self, reason: Reason, time: Duration) {
        self.fail.add(time);
        self.failures[reason as usize].fetch_add(1, Relaxed);
    }

    /// Failures by reason.
    pub fn failures(&self, reason: Reason) -> u64 {
        self.failures[reason as usize].load(Relaxed)
    }

    /// Batches by size.
    pub fn sizes(&self) -> BTreeMap<usize, BatchSize> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_is_put_into_them() {
        let mut last = 0;
        for at in 0..4_000u32 {
            let nanoseconds = (1000.0 * 1.005f64.powi(at as i32)) as u64;
            let found = bucket(nanoseconds);
            assert!(found >= last, "{nanoseconds}");
            last = found;
            if found < BUCKETS - 1 {
                assert!(nanoseconds < end(found), "{nanoseconds} {}", end(found));
                assert!(found == 0 || nanoseconds >= end(found - 1), "{nanoseconds}");
            }
        }
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn percentiles_are_close() {
        let histogram = Histogram::default();
        (1..=1000).for_each(|ms| histogram.add(Duration::from_millis(ms)));
        let counts = histogram.counts();
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = counts.percentile(share).as_secs_f64() * 1e3;
            assert!(found >= ms && found < ms * 1.13, "{share}: {found}");
        }
        let since = histogram.counts().since(&counts);
        assert_eq!((since.total(), since.percentile(0.5)), (0, Duration::ZERO));
        let (octave, all) = counts.octaves().last().expect("there are octaves");
        assert_eq!((octave.round(), all), (137.0, 1000));
    }

    #[test]
    fn batches_are_counted_by_size() {
        let stats = Stats::default();
        let times = Times { compute: Duration::from_nanos(5), ..Times::default() };
        stats.add_batch(2, 8, times);
        stats.add_batch(1, 8, times);
        assert_eq!(stats.sizes()[&8], BatchSize { count: 2, compute: 10, ..BatchSize::default() });
        assert_eq!(stats.compute.get(), (3, 15));
        stats.add_failure(Reason::Backend, Duration::from_nanos(7));
        assert_eq!((stats.failures(Reason::Backend), stats.fail.get()), (1, (1, 7)));
    }
}
