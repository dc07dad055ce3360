//! Runs a program on a device and, beside it, on vectors: the serial oracle.
//!
//! Downloads are compared bit by bit with the vector at the same point of the
//! program, whatever order the device ran the work in.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use raddle_runtime::{
    Buffer, Device, Download, Error, Event, Grid, InFlight, MemoryKind, Pinned, Stream,
};

use crate::captured::Captured;
use crate::harness::looks_for_leaks;
use crate::kernels::{churn, churn_oracle, exchange, exchange_oracle};
use crate::program::{Finish, GRAPHS, Op, PEER_STREAMS, Part, SLOTS, STREAMS, TICKETS};
use crate::random::numbers;

/// How long slow kernels take on a GPU.
const SLOW_NS: u64 = 60_000;

/// What memory must hold. Graphs share it, as they share the memory.
pub(crate) type Expected = Rc<RefCell<Vec<u32>>>;

/// A buffer with what it must hold.
pub(crate) struct Pair {
    pub(crate) buffer: Buffer<u32>,
    pub(crate) expected: Expected,
}

impl Pair {
    fn len(&self) -> usize {
        self.buffer.len()
    }
}

/// A download under way with what it must give.
struct Kept {
    download: Arriving,
    expected: Vec<u32>,
}

enum Arriving {
    Vector(Download<u32>),
    Pinned(InFlight<Pinned<u32>>),
}

impl Arriving {
    fn finish(self, how: Finish, rest: fn()) -> Option<Result<Vec<u32>, Error>> {
        Some(match (self, how) {
            (arriving, Finish::Forget) if !looks_for_leaks() => {
                // Its memory leaks, on purpose; nobody is harmed.
                let _ = std::mem::ManuallyDrop::new(arriving);
                return None;
            }
            (_, Finish::Drop | Finish::Forget) => return None,
            (Self::Vector(download), Finish::Wait) => download.wait(),
            (Self::Vector(download), Finish::Await) => block_on_with(download, rest),
            (Self::Pinned(copy), Finish::Wait) => copy.wait().map(|found| found.to_vec()),
            (Self::Pinned(copy), Finish::Await) => {
                block_on_with(copy, rest).map(|found| found.to_vec())
            }
        })
    }
}

/// A program while it runs.
pub struct Runner {
    device: Device,
    streams: Vec<Stream>,
    /// Streams of the other device, or of the same if there is none.
    peer: Vec<Stream>,
    slots: Vec<Option<Pair>>,
    kept: Vec<Option<Kept>>,
    graphs: Vec<Option<Captured>>,
    event: Option<Event>,
    /// Stands in for sources that are not there.
    nothing: Buffer<u32>,
    /// What lets a device go on whose work only moves while somebody asks.
    progress: fn(),
}

/// Why a program failed.
pub type Failure = String;

fn failed(error: Error) -> Failure {
    format!("{error}")
}

/// Few threads, as each stands for many elements: 4 to a block.
fn grid(len: usize) -> Grid {
    Grid::new(1 + (len as u32 / 1024).min(64), 4)
}

impl Runner {
    /// Takes streams of the device.
    ///
    /// # Errors
    ///
    /// What the device says.
    pub fn new(device: &Device) -> Result<Self, Failure> {
        let streams: Result<Vec<Stream>, Error> = (0..STREAMS).map(|_| device.stream()).collect();
        let streams = streams.map_err(failed)?;
        let nothing = streams[0].zeros(0).map_err(failed)?;
        let peer: Result<Vec<Stream>, Error> = (0..PEER_STREAMS).map(|_| device.stream()).collect();
        Ok(Self {
            device: device.clone(),
            streams,
            peer: peer.map_err(failed)?,
            slots: (0..SLOTS).map(|_| None).collect(),
            kept: (0..TICKETS).map(|_| None).collect(),
            graphs: (0..GRAPHS).map(|_| None).collect(),
            event: None,
            nothing,
            progress: std::thread::park,
        })
    }

    /// Copies to and from `peer`, where it would copy within its own device.
    ///
    /// # Errors
    ///
    /// What the device says.
    pub fn with_peer(self, peer: &Device) -> Result<Self, Failure> {
        let peer: Result<Vec<Stream>, Error> = (0..PEER_STREAMS).map(|_| peer.stream()).collect();
        Ok(Self { peer: peer.map_err(failed)?, ..self })
    }

    /// Calls `progress` again and again while it awaits something, in place of
    /// parking the thread.
    #[must_use]
    pub fn with_progress(self, progress: fn()) -> Self {
        Self { progress, ..self }
    }

    /// Runs a program and, at its end, compares every buffer.
    ///
    /// # Errors
    ///
    /// The operation that failed or gave something else than the oracle.
    pub fn run(&mut self, program: &[Op]) -> Result<(), Failure> {
        for (step, &op) in program.iter().enumerate() {
            self.step(op).map_err(|failure| format!("step {step}, {op:?}: {failure}"))?;
        }
        for slot in 0..SLOTS {
            let op = Op::CheckHome { slot };
            self.step(op).map_err(|failure| format!("at the end, {op:?}: {failure}"))?;
        }
        for stream in self.streams.iter().chain(&self.peer) {
            stream.synchronize().map_err(failed)?;
        }
        Ok(())
    }

    fn step(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Upload { .. }
            | Op::Zeros { .. }
            | Op::Filled { .. }
            | Op::Shared { .. }
            | Op::WriteShared { .. } => self.make(op),
            Op::Across { from, to, on, there, value } => self.across((from, to), on, there, value),
            Op::Fill { .. } | Op::Write { .. } | Op::WritePinned { .. } | Op::Copy { .. } => {
                self.transfer(op)
            }
            Op::Churn { .. }
            | Op::Exchange { .. }
            | Op::Halves { .. }
            | Op::ChurnHalves { .. }
            | Op::Cancel { .. }
            | Op::Elsewhere { .. } => self.launch(op),
            Op::Check { .. }
            | Op::CheckHome { .. }
            | Op::Begin { .. }
            | Op::BeginPinned { .. }
            | Op::End { .. } => self.look(op),
            Op::Capture { .. }
            | Op::Recapture { .. }
            | Op::Replay { .. }
            | Op::DropGraph { .. } => self.graph(op),
            Op::Drop { .. }
            | Op::Swap { .. }
            | Op::Event { .. }
            | Op::Sync { .. }
            | Op::Renew { .. } => self.manage(op),
        }
    }

    fn make(&mut self, op: Op) -> Result<(), Failure> {
        let (slot, buffer, expected) = match op {
            Op::Upload { slot, on, len, seed } => {
                let expected = numbers(len, seed);
                (slot, self.streams[on].upload(&expected), expected)
            }
            Op::Zeros { slot, on, len } => (slot, self.streams[on].zeros(len), vec![0; len]),
            Op::Filled { slot, on, len, value } => {
                (slot, self.streams[on].filled(len, value), vec![value; len])
            }
            Op::Shared { slot, is_managed, len, seed } => {
                let expected = numbers(len, seed);
                let made = if is_managed {
                    self.device.managed_zeros(len)
                } else {
                    self.device.mapped_zeros(len)
                };
                let mut buffer: Buffer<u32> = made.map_err(failed)?;
                buffer.host_mut().map_err(failed)?.copy_from_slice(&expected);
                (slot, Ok(buffer), expected)
            }
            Op::WriteShared { slot, seed } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                if pair.buffer.kind() == MemoryKind::Device {
                    return Ok(());
                }
                let source = numbers(pair.len(), seed);
                let host = pair.buffer.host_mut().map_err(failed)?;
                compare(host, &pair.expected.borrow())?;
                host.copy_from_slice(&source);
                pair.expected.borrow_mut().copy_from_slice(&source);
                return Ok(());
            }
            _ => return Ok(()),
        };
        let expected = Rc::new(RefCell::new(expected));
        self.slots[slot] = Some(Pair { buffer: buffer.map_err(failed)?, expected });
        Ok(())
    }

    fn transfer(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Fill { slot, on, part, value } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                let (start, end) = part.of(pair.len());
                let target = pair.buffer.slice_mut(start..end).map_err(failed)?;
                pair.expected.borrow_mut()[start..end].fill(value);
                self.streams[on].fill(target, value).map_err(failed)
            }
            Op::Write { slot, on, part, seed } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                let (start, end) = part.of(pair.len());
                let source = numbers(end - start, seed);
                let target = pair.buffer.slice_mut(start..end).map_err(failed)?;
                pair.expected.borrow_mut()[start..end].copy_from_slice(&source);
                self.streams[on].write(target, &source).map_err(failed)
            }
            Op::WritePinned { slot, on, seed, is_waited } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                let source = numbers(pair.len(), seed);
                let pinned = self.device.pinned(&source).map_err(failed)?;
                let copy = self.streams[on].write_pinned(&mut pair.buffer, pinned);
                let copy = copy.map_err(failed)?;
                pair.expected.borrow_mut().copy_from_slice(&source);
                if is_waited {
                    let back = copy.wait().map_err(failed)?;
                    return compare(&back, &source);
                }
                drop(copy);
                Ok(())
            }
            Op::Copy { from, to, on, source, target } => self.copy((from, to), on, source, target),
            _ => Ok(()),
        }
    }

    fn across(
        &mut self,
        (from, to): (usize, usize),
        on: usize,
        there: usize,
        value: u32,
    ) -> Result<(), Failure> {
        let Some(pair) = &self.slots[from] else { return Ok(()) };
        let mut expected = pair.expected.borrow().clone();
        let half = expected.len() / 2;
        expected[..half].fill(value);
        let mut moved = pair.buffer.to_device(&self.peer[there]).map_err(failed)?;
        let part = moved.slice_mut(..half).map_err(failed)?;
        self.peer[there].fill(part, value).map_err(failed)?;
        let buffer = moved.to_device(&self.streams[on]).map_err(failed)?;
        self.slots[to] = Some(Pair { buffer, expected: Rc::new(RefCell::new(expected)) });
        Ok(())
    }

    fn copy(
        &mut self,
        slots: (usize, usize),
        on: usize,
        source: Part,
        target: Part,
    ) -> Result<(), Failure> {
        let Ok([Some(from), Some(to)]) = self.slots.get_disjoint_mut([slots.0, slots.1]) else {
            return Ok(());
        };
        let (source_start, source_end) = source.of(from.len());
        let (target_start, target_end) = target.of(to.len());
        let len = (source_end - source_start).min(target_end - target_start);
        let (source, target) = (source_start..source_start + len, target_start..target_start + len);
        let host = &from.expected.borrow()[source.clone()];
        to.expected.borrow_mut()[target.clone()].copy_from_slice(host);
        let source = from.buffer.slice(source).map_err(failed)?;
        let target = to.buffer.slice_mut(target).map_err(failed)?;
        self.streams[on].copy(source, target).map_err(failed)
    }

    fn launch(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Churn { target, sources, on, seed, is_slow } => {
                self.churn(target, sources, on, (seed, is_slow))
            }
            Op::Exchange { x, y, on, seed } => {
                let Ok([Some(x), Some(y)]) = self.slots.get_disjoint_mut([x, y]) else {
                    return Ok(());
                };
                let grid = grid(x.len());
                exchange_oracle(&mut x.expected.borrow_mut(), &mut y.expected.borrow_mut(), seed);
                let call = exchange(0, &mut x.buffer, &mut y.buffer, seed);
                self.streams[on].launch(grid, call).map_err(failed).map(|_| ())
            }
            Op::Halves { slot, on, other, value } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                let middle = pair.len() / 2;
                let (front, back) = pair.buffer.split_at_mut(middle).map_err(failed)?;
                pair.expected.borrow_mut()[..middle].fill(value);
                pair.expected.borrow_mut()[middle..].fill(!value);
                self.streams[on].fill(front, value).map_err(failed)?;
                self.streams[other].fill(back, !value).map_err(failed)
            }
            Op::ChurnHalves { slot, on, seed } => {
                let Some(pair) = &mut self.slots[slot] else { return Ok(()) };
                let middle = pair.len() / 2;
                let (mut front, back) = pair.buffer.split_at_mut(middle).map_err(failed)?;
                let mut expected = pair.expected.borrow_mut();
                let (front_expected, back_expected) = expected.split_at_mut(middle);
                churn_oracle(front_expected, [back_expected, &[], &[]], seed);
                let none = self.nothing.as_slice();
                let call = churn(0, front.reborrow(), [back.as_slice(), none, none], seed);
                self.streams[on].launch(grid(middle), call).map_err(failed).map(|_| ())
            }
            Op::Cancel { target, on, seed } => {
                let Some(pair) = &mut self.slots[target] else { return Ok(()) };
                let (none, grid) = (self.nothing.as_slice(), grid(pair.len()));
                churn_oracle(&mut pair.expected.borrow_mut(), [&[]; 3], seed);
                let call = churn(SLOW_NS, &mut pair.buffer, [none; 3], seed);
                let launched = self.streams[on].launch(grid, call);
                let mut done = launched.map_err(failed)?.done();
                let polled = Pin::new(&mut done).poll(&mut Context::from_waker(Waker::noop()));
                if let Poll::Ready(result) = polled { result.map_err(failed) } else { Ok(()) }
            }
            Op::Elsewhere { target, source, on, seed } => {
                self.elsewhere((target, source), on, seed)
            }
            _ => Ok(()),
        }
    }

    fn churn(
        &mut self,
        target: usize,
        sources: [usize; 3],
        on: usize,
        (seed, is_slow): (u32, bool),
    ) -> Result<(), Failure> {
        let Some(mut pair) = self.slots[target].take() else { return Ok(()) };
        // The target's own slot is empty now, which makes it an absent source.
        let sources = sources.map(|slot| self.slots[slot].as_ref());
        let vectors = sources.map(|source| source.map(|pair| pair.expected.borrow()));
        let host = vectors.each_ref().map(|vector| vector.as_ref().map_or(&[][..], |v| &v[..]));
        churn_oracle(&mut pair.expected.borrow_mut(), host, seed);
        drop(vectors);
        let grid = grid(pair.len());
        let nothing = &self.nothing;
        let slices = sources.map(|source| source.map_or(nothing, |pair| &pair.buffer));
        let ns = if is_slow { SLOW_NS } else { 0 };
        let call = churn(ns, &mut pair.buffer, slices, seed);
        let launched = self.streams[on].launch(grid, call).map(|_| ());
        self.slots[target] = Some(pair);
        launched.map_err(failed)
    }

    fn elsewhere(&mut self, slots: (usize, usize), on: usize, seed: u32) -> Result<(), Failure> {
        let Ok([Some(target), Some(source)]) = self.slots.get_disjoint_mut([slots.0, slots.1])
        else {
            return Ok(());
        };
        let sources = [&source.expected.borrow()[..], &[], &[]];
        churn_oracle(&mut target.expected.borrow_mut(), sources, seed);
        let (stream, none, grid) = (&self.streams[on], &self.nothing, grid(target.len()));
        let (target, source) = (&mut target.buffer, &source.buffer);
        let run = || {
            let call = churn(0, target, [source, none, none], seed);
            stream.launch(grid, call).map(|_| ())
        };
        let result = std::thread::scope(|scope| scope.spawn(run).join());
        result.map_err(|_| "the other thread panicked".to_owned())?.map_err(failed)
    }

    fn look(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Check { slot, on, part } => {
                let Some(pair) = &self.slots[slot] else { return Ok(()) };
                let (start, end) = part.of(pair.len());
                let source = pair.buffer.slice(start..end).map_err(failed)?;
                let found = self.streams[on].to_vec(source).map_err(failed)?;
                compare(&found, &pair.expected.borrow()[start..end])
            }
            Op::CheckHome { slot } => {
                let Some(pair) = &self.slots[slot] else { return Ok(()) };
                compare(&pair.buffer.to_vec().map_err(failed)?, &pair.expected.borrow())
            }
            Op::Begin { slot, on, ticket } => {
                let Some(pair) = &self.slots[slot] else { return Ok(()) };
                let download = self.streams[on].to_vec_async(&pair.buffer).map_err(failed)?;
                let (download, expected) = (Arriving::Vector(download), pair.expected.borrow());
                self.kept[ticket] = Some(Kept { download, expected: expected.clone() });
                Ok(())
            }
            Op::BeginPinned { slot, on, ticket } => {
                let Some(pair) = &self.slots[slot] else { return Ok(()) };
                let target = self.device.pinned_zeros(pair.len()).map_err(failed)?;
                let copy = self.streams[on].read_pinned(&pair.buffer, target).map_err(failed)?;
                let (download, expected) = (Arriving::Pinned(copy), pair.expected.borrow());
                self.kept[ticket] = Some(Kept { download, expected: expected.clone() });
                Ok(())
            }
            Op::End { ticket, how } => {
                let Some(kept) = self.kept[ticket].take() else { return Ok(()) };
                match kept.download.finish(how, self.progress) {
                    Some(found) => compare(&found.map_err(failed)?, &kept.expected),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn graph(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Capture { graph, target, source, on, seed } => {
                let Some(mut pair) = self.slots[target].take() else { return Ok(()) };
                let source = self.slots[source].as_ref();
                let captured =
                    Captured::new(&self.streams[on], &mut pair, source, &self.nothing, seed);
                self.slots[target] = Some(pair);
                self.graphs[graph] = Some(captured.map_err(failed)?);
            }
            Op::Recapture { graph, target, source, on, seed } => {
                let Some(captured) = &mut self.graphs[graph] else { return Ok(()) };
                let Some(mut pair) = self.slots[target].take() else { return Ok(()) };
                let source = self.slots[source].as_ref();
                let stream = &self.streams[on];
                let updated = captured.update(stream, &mut pair, source, &self.nothing, seed);
                self.slots[target] = Some(pair);
                updated.map_err(failed)?;
            }
            Op::Replay { graph, on, times } => {
                let Some(captured) = &mut self.graphs[graph] else { return Ok(()) };
                for _ in 0..times {
                    captured.replay(&self.streams[on]).map_err(failed)?;
                }
            }
            Op::DropGraph { graph } => self.graphs[graph] = None,
            _ => {}
        }
        Ok(())
    }

    fn manage(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Drop { slot } => self.slots[slot] = None,
            Op::Swap { a, b } => self.slots.swap(a, b),
            Op::Event { on, is_waited } => {
                let event = self.streams[on].record().map_err(failed)?;
                match self.event.replace(event) {
                    Some(last) if is_waited => last.synchronize().map_err(failed)?,
                    Some(last) => drop(last.is_reached().map_err(failed)?),
                    None => {}
                }
            }
            Op::Sync { on } => self.streams[on].synchronize().map_err(failed)?,
            Op::Renew { on } => {
                let stream = self.device.stream().map_err(failed)?;
                // A clone keeps the old one for a moment.
                let old = std::mem::replace(&mut self.streams[on], stream);
                let last = old.clone();
                drop(old);
                drop(last);
            }
            _ => {}
        }
        Ok(())
    }
}

fn compare(found: &[u32], expected: &[u32]) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
    let at = at.unwrap_or(found.len().min(expected.len()));
    Err(format!(
        "of {} elements {} differ, first element {at}: expected {:#x?}, found {:#x?}",
        expected.len(),
        found.iter().zip(expected).filter(|(found, expected)| found != expected).count(),
        expected.get(at),
        found.get(at)
    ))
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls a future on this thread until it is ready.
pub fn block_on<F: Future>(future: F) -> F::Output {
    block_on_with(future, std::thread::park)
}

/// Polls a future on this thread until it is ready, with `rest` between polls.
pub fn block_on_with<F: Future>(future: F, rest: fn()) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => rest(),
        }
    }
}
