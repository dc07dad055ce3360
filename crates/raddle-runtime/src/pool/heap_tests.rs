//! The heap against a naive oracle: random requests of several streams whose work
//! ends at random, above sources with and without joined pieces.
//!
//! The oracle knows each unit of 256 bytes: who holds it, or what it still waits
//! for. It checks that nothing is handed out twice or too early, that no byte is
//! lost, and that what a stream gets is aligned and long enough.

use std::collections::BTreeMap;

use super::*;
use crate::timeline::StreamId;

const UNIT: u64 = 256;
const PIECE: u64 = 16 * UNIT;
const STREAMS: u16 = 4;

/// Pieces in one space that is joined, or segments that are not, below a budget.
struct TestSource {
    is_virtual: bool,
    /// Length by address.
    pieces: BTreeMap<u64, u64>,
    budget: u64,
    next: u64,
}

impl TestSource {
    fn end(&self) -> u64 {
        self.pieces.last_key_value().map_or(1 << 20, |(at, bytes)| at + bytes)
    }

    fn map_at(&mut self, at: u64, bytes: u64) -> Result<Mapped, ()> {
        if bytes > self.budget {
            return Err(());
        }
        self.budget -= bytes;
        if self.is_virtual {
            for offset in (0..bytes).step_by(PIECE as usize) {
                self.pieces.insert(at + offset, PIECE);
            }
        } else {
            self.pieces.insert(at, bytes);
        }
        Ok(Mapped { range: at..at + bytes, is_zero: false })
    }
}

impl Source for TestSource {
    type Error = ();

    fn map(&mut self, bytes: u64) -> Result<Mapped, ()> {
        let bytes = bytes.next_multiple_of(PIECE);
        let mut at = self.end();
        if self.is_virtual {
            let mut free = 1 << 20;
            for (&address, &piece) in &self.pieces {
                if address - free >= bytes {
                    at = free;
                    break;
                }
                free = address + piece;
            }
        } else {
            // Segments may happen to be next to each other.
            self.next += 1;
            at = self.end() + if self.next.is_multiple_of(2) { 0 } else { 4096 };
        }
        self.map_at(at, bytes)
    }

    fn map_behind(&mut self, address: u64, bytes: u64) -> Option<Result<Mapped, ()>> {
        let can = self.is_virtual && address == self.end();
        can.then(|| self.map_at(address, bytes.next_multiple_of(PIECE)))
    }

    fn unmap(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let within =
            |(&at, &bytes): (&u64, &u64)| (at + bytes <= range.end).then_some(at..at + bytes);
        let gone: Vec<_> = self.pieces.range(range.clone()).filter_map(within).collect();
        for piece in &gone {
            self.budget += self.pieces.remove(&piece.start).unwrap();
        }
        gone
    }

    fn is_joined(&self, address: u64) -> bool {
        self.is_virtual || !self.pieces.contains_key(&address)
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Unit {
    Held(u64),
    Free(Vec<Point>),
}

struct Model {
    heap: Heap<TestSource>,
    units: BTreeMap<u64, Unit>,
    /// Address, bytes and the streams that use it.
    held: Vec<(u64, u64)>,
    enqueued: [u64; STREAMS as usize + 1],
    ended: [u64; STREAMS as usize + 1],
    random: u64,
    next_id: u64,
}

impl Model {
    fn new(is_virtual: bool, seed: u64) -> Self {
        let source =
            TestSource { is_virtual, pieces: BTreeMap::new(), budget: 100 * PIECE, next: 0 };
        Self {
            heap: Heap::new(source),
            units: BTreeMap::new(),
            held: Vec::new(),
            enqueued: [0; 5],
            ended: [0; 5],
            random: seed,
            next_id: 0,
        }
    }

    fn pick(&mut self, len: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.random >> 33) % len
    }

    fn step(&mut self) {
        let stream = self.pick(STREAMS.into()) as u16 + 1;
        match self.pick(16) {
            0..=5 => self.allocate(stream),
            6..=10 => self.free(),
            11..=13 => {
                let at = usize::from(stream);
                let way = self.enqueued[at] - self.ended[at];
                self.ended[at] += self.pick(way + 1);
            }
            14 => self.trim(),
            _ => {
                let ended = self.ended;
                self.heap.settle(&mut |point| state(&ended, stream, point));
            }
        }
        self.check();
    }

    fn allocate(&mut self, stream: u16) {
        let bytes = (self.pick(40) + 1) * UNIT;
        let ended = self.ended;
        let mut look = |point| state(&ended, stream, point);
        let mut is_forced = false;
        let mut grant = self.heap.take(bytes, &mut look);
        if grant.is_none() {
            let growth = bytes + self.random % 3 * PIECE;
            grant = self.heap.grow(bytes, growth, &mut look).ok();
        }
        if grant.is_none() {
            is_forced = true;
            grant = self.heap.take_pending(bytes);
        }
        let Some(grant) = grant else { return };
        assert_eq!((grant.bytes, grant.address % UNIT), (bytes, 0));
        for at in (grant.address..grant.address + bytes).step_by(UNIT as usize) {
            // New units were mapped in the call.
            let unit = self.units.entry(at).or_insert(Unit::Free(Vec::new()));
            let Unit::Free(points) = unit else { panic!("{at:#x} is handed out twice") };
            for &point in &*points {
                let state = state(&ended, stream, point);
                assert!(is_forced || state != State::UnderWay, "{at:#x} too early");
                let covers = |known: &Point| {
                    known.stream == point.stream && known.sequence >= point.sequence
                };
                let is_told = grant.pending.points().iter().any(covers);
                assert!(state == State::Ended || is_told, "{at:#x}: {point:?} is forgotten");
            }
            *unit = Unit::Held(self.next_id);
        }
        self.next_id += 1;
        self.held.push((grant.address, bytes));
        // What `grow` has mapped beyond.
        let pieces: Vec<_> = self.heap.source.pieces.clone().into_iter().collect();
        for (at, bytes) in pieces {
            for unit in (at..at + bytes).step_by(UNIT as usize) {
                self.units.entry(unit).or_insert(Unit::Free(Vec::new()));
            }
        }
    }

    fn free(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.pick(self.held.len() as u64) as usize;
        let (address, bytes) = self.held.swap_remove(at);
        let mut pending = Pending::default();
        for stream in 1..=STREAMS {
            if self.pick(2) == 0 {
                let sequence = self.enqueued[usize::from(stream)] + 1;
                self.enqueued[usize::from(stream)] = sequence;
                pending.add(Point { stream: StreamId(stream), sequence });
            }
        }
        for unit in (address..address + bytes).step_by(UNIT as usize) {
            self.units.insert(unit, Unit::Free(pending.points().to_vec()));
        }
        self.heap.put(address, bytes, pending);
    }

    fn trim(&mut self) {
        let ended = self.ended;
        let wanted = self.pick(64) * UNIT;
        let before = self.heap.usage().mapped_bytes;
        let trimmed = self.heap.trim(wanted, &mut |point| state(&ended, 0, point));
        assert_eq!(before - self.heap.usage().mapped_bytes, trimmed);
        let pieces = &self.heap.source.pieces;
        self.units.retain(|&at, unit| {
            let is_mapped = pieces.range(..=at).next_back().is_some_and(|(p, b)| at < p + b);
            if let (false, Unit::Free(points)) = (is_mapped, &*unit) {
                let has_ended = |&point| state(&ended, 0, point) == State::Ended;
                assert!(points.iter().all(has_ended), "{at:#x} was unmapped while in use");
            }
            assert!(is_mapped || matches!(unit, Unit::Free(_)), "{at:#x} was unmapped while held");
            is_mapped
        });
    }

    /// Both tables of the heap against the units.
    fn check(&self) {
        let heap = &self.heap;
        assert_eq!(heap.free.len(), heap.by_size.len());
        assert_eq!(heap.mapped_bytes, self.units.len() as u64 * UNIT);
        let mut free_bytes = 0;
        let mut last_end = 0;
        for (&at, range) in &heap.free {
            assert!(at >= last_end, "ranges overlap");
            assert!(heap.by_size.contains(&(range.bytes, at)));
            last_end = at + range.bytes;
            free_bytes += range.bytes;
            for unit in (at..last_end).step_by(UNIT as usize) {
                assert!(matches!(self.units.get(&unit), Some(Unit::Free(_))), "{unit:#x}");
            }
        }
        let units = self.units.values().filter(|unit| matches!(unit, Unit::Free(_))).count();
        assert_eq!((free_bytes, heap.free_bytes), (units as u64 * UNIT, free_bytes), "lost bytes");
    }
}

fn state(ended: &[u64; 5], asking: u16, point: Point) -> State {
    if ended[usize::from(point.stream.0)] >= point.sequence {
        State::Ended
    } else if point.stream.0 == asking {
        State::Before
    } else {
        State::UnderWay
    }
}

#[test]
fn random_requests_agree_with_the_oracle() {
    // An interpreter takes a minute for what takes a millisecond otherwise.
    const STEPS: usize = if cfg!(miri) { 5 } else { 700 };
    for is_virtual in [false, true] {
        for seed in 0..4 {
            let mut model = Model::new(is_virtual, seed);
            for _ in 0..STEPS {
                model.step();
            }
            // When all work has ended and all is free, nothing stays mapped.
            model.ended = model.enqueued;
            while !model.held.is_empty() {
                model.free();
            }
            model.ended = model.enqueued;
            let ended = model.ended;
            model.heap.trim(u64::MAX, &mut |point| state(&ended, 0, point));
            assert_eq!(model.heap.usage(), HeapUse::default(), "{is_virtual} {seed}");
        }
    }
}

fn ended(_point: Point) -> State {
    State::Ended
}

#[test]
fn the_last_range_grows_where_it_can() {
    for (is_virtual, expected) in [(true, 3), (false, 5)] {
        let mut heap = Heap::new(Model::new(is_virtual, 0).heap.source);
        let first = heap.grow(2 * PIECE, 0, &mut ended).unwrap();
        heap.put(first.address, first.bytes, Pending::default());
        let second = heap.grow(3 * PIECE, 0, &mut ended).unwrap();
        assert_eq!(second.address == first.address, is_virtual);
        assert_eq!(heap.usage().mapped_bytes, expected * PIECE);
    }
}

#[test]
fn ranges_that_wait_are_kept_from_others_until_work_has_ended() {
    let mut heap = Heap::new(Model::new(true, 0).heap.source);
    let block = heap.grow(PIECE, 0, &mut ended).unwrap();
    let point = Point { stream: StreamId(1), sequence: 7 };
    heap.put(block.address, block.bytes, Pending::of([point]));
    let at = |done: u64, asking: u16| move |point: Point| state(&[0, done, 0, 0, 0], asking, point);
    assert_eq!(heap.take(UNIT, &mut at(6, 2)), None);
    let own = heap.take(UNIT, &mut at(6, 1)).unwrap();
    assert_eq!(own.pending.points(), [point]);
    let other = heap.take(UNIT, &mut at(7, 2)).unwrap();
    assert!(other.pending.is_settled() && other.address != own.address);
    assert_eq!(heap.trim(u64::MAX, &mut at(7, 0)), 0);
    heap.put(own.address, UNIT, Pending::of([point]));
    heap.put(other.address, UNIT, Pending::default());
    assert_eq!(heap.trim(u64::MAX, &mut at(6, 0)), 0);
    assert_eq!(heap.trim(u64::MAX, &mut at(7, 0)), PIECE);
}
