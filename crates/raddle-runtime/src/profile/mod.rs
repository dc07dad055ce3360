//! The memory profile: which calls allocated the memory that is held.
//!
//! An allocation that is recorded carries a [`Ticket`] to its [`Site`]: the stack
//! of calls, the device, the stream, and the kernel launched last there. A site
//! has counters; there is no table of live allocations, so that recording and
//! freeing cost a few atomic additions. Stacks are return addresses, found
//! through a cache of each thread ([`stack`]), and become names only when somebody
//! reads a report.
//!
//! By default allocations are sampled: one about every 512 KiB, less often on a
//! thread that allocates so fast that it would be seen in its time. Each sample
//! counts for the allocations that it stands for. `RADDLE_MEMORY_PROFILE=full`, or
//! [`set_memory_profile`], records all.

mod exit;
mod pprof;
mod report;
mod site;
pub(crate) mod stack;
mod text;

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use raddle_device::kernel::Kernel;

pub(crate) use self::exit::{report_at_exit, write_report};
pub(crate) use self::report::holders;
pub use self::report::{MemoryProfile, ProfileEntry};
pub use self::site::MemoryKind;
use self::site::{Labels, Site};
pub use self::stack::{Stack, StackFrame};
use crate::device::DeviceKind;
use crate::timeline::StreamId;

/// How much the memory profile records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryProfileMode {
    /// Nothing.
    Off,
    /// Some allocations, each counted for those that it stands for: estimates.
    Sampled,
    /// Every allocation: exact.
    Full,
}

/// Records allocations as `mode` says from now on, in the whole process; by
/// default as `RADDLE_MEMORY_PROFILE` says (`off`, `sampled` or `full`), else
/// sampled. What is held from before stays as it was recorded.
pub fn set_memory_profile(mode: MemoryProfileMode) {
    let _ = self::mode();
    MODE.store(mode as u8, Ordering::Relaxed);
}

/// How much the memory profile records at present.
#[must_use]
pub fn memory_profile_mode() -> MemoryProfileMode {
    match mode() {
        OFF => MemoryProfileMode::Off,
        FULL => MemoryProfileMode::Full,
        _ => MemoryProfileMode::Sampled,
    }
}

const OFF: u8 = MemoryProfileMode::Off as u8;
const FULL: u8 = MemoryProfileMode::Full as u8;
const UNSET: u8 = u8::MAX;

static MODE: AtomicU8 = AtomicU8::new(UNSET);
static WRONG_SETTING: OnceLock<String> = OnceLock::new();

#[inline]
fn mode() -> u8 {
    match MODE.load(Ordering::Relaxed) {
        UNSET => mode_from_env(),
        mode => mode,
    }
}

#[cold]
fn mode_from_env() -> u8 {
    let setting = std::env::var("RADDLE_MEMORY_PROFILE").unwrap_or_default();
    let mode = match setting.trim() {
        "off" => MemoryProfileMode::Off,
        "full" => MemoryProfileMode::Full,
        "" | "sampled" => MemoryProfileMode::Sampled,
        wrong => {
            let _ = WRONG_SETTING.set(wrong.to_owned());
            MemoryProfileMode::Sampled
        }
    } as u8;
    // Somebody may have called `set_memory_profile` meanwhile.
    let order = Ordering::Relaxed;
    match MODE.compare_exchange(UNSET, mode, order, order) {
        Ok(_) => mode,
        Err(set) => set,
    }
}

/// The value of `RADDLE_MEMORY_PROFILE` if it is not one of those known.
pub(crate) fn wrong_setting() -> Option<&'static str> {
    let _ = mode();
    WRONG_SETTING.get().map(String::as_str)
}

/// What an allocation remembers of its record.
#[derive(Clone, Copy, Default)]
pub(crate) struct Ticket {
    site: Option<&'static Site>,
    /// How many allocations the record stands for.
    weight: f32,
}

/// What is known of an allocation when it is made.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) bytes: u64,
    pub(crate) kind: MemoryKind,
    pub(crate) device: DeviceKind,
    pub(crate) stream: StreamId,
    /// The kernel launched last on the stream.
    pub(crate) kernel: *const Kernel,
}

impl Ticket {
    /// Records an allocation, or not.
    #[inline]
    pub(crate) fn record(made: impl FnOnce() -> Made, bytes: u64) -> Self {
        match mode() {
            OFF => Self::default(),
            FULL => Self::note(made(), 1.0),
            _ => {
                let is_due = COUNTDOWN.try_with(|countdown| {
                    let left = countdown.get() - bytes.min(i64::MAX as u64) as i64;
                    countdown.set(left);
                    left < 0
                });
                if is_due == Ok(true) { Self::sample(made(), bytes) } else { Self::default() }
            }
        }
    }

    #[cold]
    fn sample(made: Made, bytes: u64) -> Self {
        let Ok(weight) = SAMPLER.try_with(|sampler| {
            let (weight, next) = sampler.draw(bytes);
            COUNTDOWN.with(|countdown| countdown.set(next));
            weight
        }) else {
            return Self::default();
        };
        // The first call on a thread only draws when the first sample is due.
        weight.map_or(Self::default(), |weight| Self::note(made, weight))
    }

    #[inline(never)]
    fn note(made: Made, weight: f32) -> Self {
        let labels = Labels {
            kind: made.kind,
            device: made.device,
            stream: made.stream,
            kernel: made.kernel.expose_provenance(),
        };
        let Some(site) = stack::site_here(labels) else { return Self::default() };
        site.add(made.bytes, weight);
        Self { site: Some(site), weight }
    }

    /// The allocation is gone.
    #[inline]
    pub(crate) fn release(self, bytes: u64) {
        if let Some(site) = self.site {
            site.remove(bytes, self.weight);
        }
    }
}

thread_local! {
    /// Bytes until the next sample. Zero before the first draw.
    static COUNTDOWN: Cell<i64> = const { Cell::new(0) };
    static SAMPLER: Sampler = Sampler::new();
}

/// Decides, for one thread, which allocations are sampled: every byte is as
/// likely, one in `mean` on average.
struct Sampler {
    mean_bytes: Cell<f64>,
    random: Cell<u64>,
    /// When the samples began that the rate is judged by, and how many came since.
    since: Cell<Option<Instant>>,
    samples: Cell<u32>,
}

impl Sampler {
    fn new() -> Self {
        // Different on each thread; no secret.
        let seed = std::ptr::from_ref(&seed_here()).addr() as u64;
        Self {
            mean_bytes: Cell::new(MEAN_BYTES),
            random: Cell::new(seed | 1),
            since: Cell::new(None),
            samples: Cell::new(0),
        }
    }

    /// How many allocations like this one of `bytes` bytes the sample stands for
    /// (none if the sampler has just begun), and the bytes until the next.
    fn draw(&self, bytes: u64) -> (Option<f32>, i64) {
        let mean = self.mean_bytes.get();
        let weight = 1.0 / -(-(bytes as f64) / mean).exp_m1();
        let is_first = self.since.get().is_none();
        self.pace();
        // Xorshift: good enough to spread samples.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        let uniform = ((x >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
        let next = (-uniform.ln() * self.mean_bytes.get()).min(1e18) as i64;
        // Whether the very first allocation is sampled is drawn like any other.
        let is_sampled = !is_first || next < i64::try_from(bytes).unwrap_or(i64::MAX);
        (is_sampled.then_some(weight as f32), next)
    }

    /// Samples less often on a thread that takes more than a thousand a second.
    fn pace(&self) {
        let Some(since) = self.since.get() else { return self.since.set(Some(Instant::now())) };
        self.samples.set(self.samples.get() + 1);
        if self.samples.get() < PACE_SAMPLES {
            return;
        }
        let elapsed = since.elapsed();
        if elapsed < PACE {
            self.mean_bytes.set(self.mean_bytes.get() * 2.0);
        } else if elapsed > PACE * 4 {
            self.mean_bytes.set((self.mean_bytes.get() / 2.0).max(MEAN_BYTES));
        }
        self.samples.set(0);
        self.since.set(Some(Instant::now()));
    }
}

fn seed_here() -> Box<u8> {
    Box::new(0)
}

/// Bytes between two samples on average, on a thread that is not in a hurry.
const MEAN_BYTES: f64 = (512 << 10) as f64;
/// So many samples take at least so long.
const PACE_SAMPLES: u32 = 32;
const PACE: Duration = Duration::from_millis(32);

#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
