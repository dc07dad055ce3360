//! The host model of an mbarrier: counts in the eight bytes that the barrier has
//! in shared memory, in an encoding of our own.
//!
//! ```text
//! 63..62   61     60..40         39..20    19..0
//! 01       phase  bytes + bias   expected  pending
//! ```
//!
//! A misuse that the hardware leaves undefined (arriving at a barrier that was
//! never initialised, more arrivals than expected, too many bytes) is a panic.

use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::MBARRIER_ARRIVALS_MAX;

/// The counts, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    /// Parity of the current phase.
    phase: u64,
    /// Arrivals that this phase still waits for.
    pending: u32,
    /// Arrivals that each phase expects.
    expected: u32,
    /// Bytes that this phase still waits for; negative while copies are ahead of
    /// their announcement.
    bytes: i64,
}

/// The top bits of a live barrier; neither zero nor the pattern with which the
/// CPU device fills shared memory begins with them.
const LIVE: u64 = 0b01;
const FIELD: u64 = MBARRIER_ARRIVALS_MAX as u64;
const BYTES_MAX: i64 = FIELD as i64;

impl Counts {
    /// Reads the counts.
    #[track_caller]
    fn decode(word: u64) -> Self {
        assert!(
            word >> 62 == LIVE,
            "this mbarrier is not initialised: call `Mbarrier::init` first"
        );
        Self {
            phase: word >> 61 & 1,
            pending: (word & FIELD) as u32,
            expected: (word >> 20 & FIELD) as u32,
            bytes: (word >> 40 & (2 * FIELD + 1)) as i64 - BYTES_MAX,
        }
    }

    fn encode(self) -> u64 {
        LIVE << 62
            | self.phase << 61
            | ((self.bytes + BYTES_MAX) as u64) << 40
            | u64::from(self.expected) << 20
            | u64::from(self.pending)
    }

    /// Begins the next phase if nothing is outstanding.
    fn advance(mut self) -> Self {
        if self.pending == 0 && self.bytes == 0 {
            self.phase ^= 1;
            self.pending = self.expected;
        }
        self
    }

    #[track_caller]
    fn arrived(mut self, count: u32) -> Self {
        assert!(
            count >= 1 && count <= self.pending,
            "an mbarrier got more arrivals in one phase than it expects: {count} arrive, {} of {} \
             are outstanding",
            self.pending,
            self.expected
        );
        self.pending -= count;
        self
    }

    #[track_caller]
    fn with_bytes(mut self, change: i64) -> Self {
        self.bytes += change;
        assert!(
            self.bytes.abs() <= BYTES_MAX,
            "an mbarrier counts at most {BYTES_MAX} bytes in one phase, found {}",
            self.bytes
        );
        self
    }
}

/// The counts of the barrier. No other thread runs between this and [`store`]:
/// the blocks of a cluster share one OS thread, which switches at engine calls
/// only.
#[track_caller]
fn load(cell: &AtomicU64) -> Counts {
    Counts::decode(cell.load(SeqCst))
}

fn store(cell: &AtomicU64, counts: Counts) {
    cell.store(counts.encode(), SeqCst);
}

/// # Safety
///
/// `at` is valid for writes and aligned.
#[track_caller]
pub(super) unsafe fn init(at: *mut u64, arrivals: u32) {
    assert!(
        (1..=MBARRIER_ARRIVALS_MAX).contains(&arrivals),
        "an mbarrier expects 1 to {MBARRIER_ARRIVALS_MAX} arrivals, found {arrivals}"
    );
    let counts = Counts { phase: 0, pending: arrivals, expected: arrivals, bytes: 0 };
    // SAFETY: by the caller's contract.
    unsafe { AtomicU64::from_ptr(at) }.store(counts.encode(), SeqCst);
}

/// # Safety
///
/// `at` points to a barrier.
#[track_caller]
pub(super) unsafe fn invalidate(at: *mut u64) {
    // SAFETY: by the caller's contract.
    let cell = unsafe { AtomicU64::from_ptr(at) };
    load(cell);
    cell.store(0, SeqCst);
}

/// Counts arrivals and returns the phase they belong to; so do the next two.
#[track_caller]
pub(super) fn arrive(cell: &AtomicU64, count: u32) -> u64 {
    let counts = load(cell);
    store(cell, counts.arrived(count).advance());
    counts.phase
}

#[track_caller]
pub(super) fn arrive_no_complete(cell: &AtomicU64, count: u32) -> u64 {
    let counts = load(cell);
    let next = counts.arrived(count);
    assert!(next.pending != 0, "`arrive_no_complete` made the last arrival of a phase");
    store(cell, next);
    counts.phase
}

#[track_caller]
pub(super) fn arrive_drop(cell: &AtomicU64) -> u64 {
    let counts = load(cell);
    let mut next = counts.arrived(1);
    next.expected -= 1;
    store(cell, next.advance());
    counts.phase
}

#[track_caller]
pub(super) fn expect_tx(cell: &AtomicU64, bytes: u32) {
    store(cell, load(cell).with_bytes(bytes.into()));
}

#[track_caller]
pub(super) fn complete_tx(cell: &AtomicU64, bytes: u32) {
    store(cell, load(cell).with_bytes(-i64::from(bytes)).advance());
}

/// Whether phase `phase` has completed.
#[track_caller]
pub(super) fn is_past(cell: &AtomicU64, phase: u64) -> bool {
    load(cell).phase != phase
}

/// Whether the phase of parity `parity` has completed.
#[track_caller]
pub(super) fn is_past_parity(cell: &AtomicU64, parity: u32) -> bool {
    load(cell).phase != u64::from(parity & 1)
}
