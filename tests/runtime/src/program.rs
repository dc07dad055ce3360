//! Random programs: lists of operations that mean something however many of them
//! are taken out, so that a failing one can be made smaller.
//!
//! Operations name buffers and streams by slot. What a slot holds is found out when
//! the program runs: an operation on an empty slot does nothing, and positions are
//! shares of whatever length the buffer has then.

use crate::random::Random;

/// Buffers of a program.
pub const SLOTS: usize = 14;
/// Streams of a program.
pub const STREAMS: usize = 16;

/// A part of a buffer: start and end in 256ths of its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part(pub u8, pub u8);

impl Part {
    /// Start and end in a buffer of `len` elements.
    #[must_use]
    pub fn of(self, len: usize) -> (usize, usize) {
        let at = |share: u8| len * usize::from(share) / 255;
        let (a, b) = (at(self.0), at(self.1));
        (a.min(b), a.max(b))
    }
}

/// One step of a program. `slot`, `from`, `to` and the like name buffers, `on`
/// streams.
#[expect(missing_docs, reason = "fields of one name mean the same everywhere: see above")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new buffer with numbers from a seed.
    Upload { slot: usize, on: usize, len: usize, seed: u32 },
    /// A new buffer of zeros.
    Zeros { slot: usize, on: usize, len: usize },
    /// A new buffer of one value.
    Filled { slot: usize, on: usize, len: usize, value: u32 },
    /// A new buffer in memory that host and device share, with numbers that the host
    /// writes there.
    Shared { slot: usize, is_managed: bool, len: usize, seed: u32 },
    /// The host writes numbers to a buffer that it shares.
    WriteShared { slot: usize, seed: u32 },
    /// A new buffer that was copied to the other device, half filled there, and copied
    /// back.
    Across { from: usize, to: usize, on: usize, there: usize, value: u32 },
    /// Sets a part to a value.
    Fill { slot: usize, on: usize, part: Part, value: u32 },
    /// Writes numbers from the host to a part.
    Write { slot: usize, on: usize, part: Part, seed: u32 },
    /// Copies as much of a part as fits to the start of a part of another buffer.
    Copy { from: usize, to: usize, on: usize, source: Part, target: Part },
    /// The kernel `churn`; sources that are the target or empty slots count as
    /// absent.
    Churn { target: usize, sources: [usize; 3], on: usize, seed: u32, is_slow: bool },
    /// The kernel `exchange` over two buffers.
    Exchange { x: usize, y: usize, on: usize, seed: u32 },
    /// Fills the halves of a buffer on two streams, neither of which waits for the
    /// other.
    Halves { slot: usize, on: usize, other: usize, value: u32 },
    /// Two halves of one buffer, one churned with the other as its source.
    ChurnHalves { slot: usize, on: usize, seed: u32 },
    /// Frees a buffer behind whatever uses it.
    Drop { slot: usize },
    /// Swaps two handles.
    Swap { a: usize, b: usize },
    /// Downloads a part on a stream and compares it.
    Check { slot: usize, on: usize, part: Part },
    /// Downloads on whatever stream wrote the buffer last.
    CheckHome { slot: usize },
    /// Begins a download whose future is kept.
    Begin { slot: usize, on: usize, ticket: usize },
    /// Waits for a kept download and compares it with what the buffer held when it
    /// was begun.
    End { ticket: usize, how: Finish },
    /// Begins a download to pinned memory of its own, kept like the others.
    BeginPinned { slot: usize, on: usize, ticket: usize },
    /// Writes numbers from pinned memory, whose future is waited for or dropped.
    WritePinned { slot: usize, on: usize, seed: u32, is_waited: bool },
    /// Captures a graph over two buffers and memory of its own (see `captured`).
    Capture { graph: usize, target: usize, source: usize, on: usize, seed: u32 },
    /// Captures in the place of a graph.
    Recapture { graph: usize, target: usize, source: usize, on: usize, seed: u32 },
    /// Replays a graph some times.
    Replay { graph: usize, on: usize, times: usize },
    /// Drops a graph, perhaps while it is replayed.
    DropGraph { graph: usize },
    /// Launches and drops the future of the launch after one poll.
    Cancel { target: usize, on: usize, seed: u32 },
    /// Records an event, and asks or waits for the one recorded before.
    Event { on: usize, is_waited: bool },
    /// Waits for a stream.
    Sync { on: usize },
    /// Drops a stream and takes another.
    Renew { on: usize },
    /// The kernel on another host thread.
    Elsewhere { target: usize, source: usize, on: usize, seed: u32 },
}

/// How a kept download ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// By a blocking wait.
    Wait,
    /// By awaiting it.
    Await,
    /// By dropping it unfinished.
    Drop,
    /// By forgetting it.
    Forget,
}

/// Downloads that can be kept at a time.
pub const TICKETS: usize = 4;

/// Graphs of a program.
pub const GRAPHS: usize = 3;

/// Streams of the other device.
pub const PEER_STREAMS: usize = 3;

/// A program of `len` operations.
#[must_use]
pub fn program(seed: u64, len: usize) -> Vec<Op> {
    let mut random = Random::new(seed);
    (0..len).map(|_| op(&mut random)).collect()
}

fn length(random: &mut Random) -> usize {
    match random.below(400) {
        // Past the 256 KiB of a staging chunk.
        0 => 60_000 + random.below(20_000),
        1..=4 => 1000 + random.below(3000),
        5..=12 => 0,
        _ => 1 + random.below(48),
    }
}

fn part(random: &mut Random) -> Part {
    if random.below(3) == 0 {
        return Part(0, 255);
    }
    Part(random.below(256) as u8, random.below(256) as u8)
}

fn op(random: &mut Random) -> Op {
    let slot = random.below(SLOTS);
    // Some streams are used far more than others.
    let on = random.below(STREAMS).min(random.below(STREAMS));
    let other = random.below(SLOTS);
    let seed = random.word() as u32;
    match random.below(112) {
        0..=4 => Op::Upload { slot, on, len: length(random), seed },
        5..=7 => Op::Zeros { slot, on, len: length(random) },
        8..=9 => Op::Filled { slot, on, len: length(random), value: seed },
        10..=14 => Op::Fill { slot, on, part: part(random), value: seed },
        15..=19 => Op::Write { slot, on, part: part(random), seed },
        20..=30 => {
            let (source, target) = (part(random), part(random));
            Op::Copy { from: slot, to: other, on, source, target }
        }
        31..=61 => {
            let sources = std::array::from_fn(|_| random.below(SLOTS));
            Op::Churn { target: slot, sources, on, seed, is_slow: random.below(16) == 0 }
        }
        62..=69 => Op::Exchange { x: slot, y: other, on, seed },
        70..=72 => Op::Halves { slot, on, other: random.below(STREAMS), value: seed },
        73..=75 => Op::ChurnHalves { slot, on, seed },
        76..=79 => Op::Drop { slot },
        80..=81 => Op::Swap { a: slot, b: other },
        82..=84 => Op::Check { slot, on, part: part(random) },
        85 => Op::CheckHome { slot },
        86..=88 => Op::Begin { slot, on, ticket: random.below(TICKETS) },
        89..=91 => {
            let how = match random.below(16) {
                0..=8 => Finish::Wait,
                9..=11 => Finish::Await,
                12..=14 => Finish::Drop,
                _ => Finish::Forget,
            };
            Op::End { ticket: random.below(TICKETS), how }
        }
        92 => Op::Cancel { target: slot, on, seed },
        93..=96 => Op::Event { on, is_waited: random.below(4) == 0 },
        97 => Op::Sync { on },
        98 => Op::Renew { on },
        100..=111 => extra(random, slot, other, on, seed),
        _ if random.below(8) == 0 => Op::Elsewhere { target: slot, source: other, on, seed },
        _ => Op::Drop { slot },
    }
}

/// Pinned and shared memory, graphs, and the other device.
fn extra(random: &mut Random, slot: usize, other: usize, on: usize, seed: u32) -> Op {
    let (graph, ticket) = (random.below(GRAPHS), random.below(TICKETS));
    match random.below(16) {
        12 => Op::Shared { slot, is_managed: random.below(2) == 0, len: length(random), seed },
        13 => Op::WriteShared { slot, seed },
        14..=15 => {
            let there = random.below(PEER_STREAMS);
            Op::Across { from: slot, to: other, on, there, value: seed }
        }
        0..=1 => Op::BeginPinned { slot, on, ticket },
        2..=3 => Op::WritePinned { slot, on, seed, is_waited: random.below(2) == 0 },
        4..=5 => Op::Capture { graph, target: slot, source: other, on, seed },
        6 => Op::Recapture { graph, target: slot, source: other, on, seed },
        7 => Op::DropGraph { graph },
        _ => Op::Replay { graph, on, times: 1 + random.below(3) },
    }
}
