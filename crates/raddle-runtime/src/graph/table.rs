//! Which memory belongs to graphs, and how replays are ordered with other work.
//!
//! A replay touches many buffers and is noted once: on its graph. Memory that a
//! graph touches is marked as held; only work on such memory looks here, where it
//! waits for the last replay and notes itself with the graphs that hold the
//! memory, so that their next replay waits for it. A buffer that is dropped while
//! graphs hold its memory leaves the memory to them.
//!
//! Lock order: a queue's `state`, then this table, then any queue's `mark`. Memory
//! is never freed under the table's lock.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard};

use crate::error::Result;
use crate::memory::Region;
use crate::sync::lock;
use crate::timeline::{Access, Lease, StreamId, Use, Uses};

/// Number of a graph on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GraphId(u64);

/// Numbers and addresses are spread well enough as they are: a replay has no time to
/// hash them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 << 8 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes high bits for one thing and low ones for another.
        self.0 = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// The graphs of one device and the memory they hold.
#[derive(Default)]
pub(crate) struct GraphTable {
    state: Mutex<Table>,
}

/// See [`GraphTable`].
#[derive(Default)]
pub(crate) struct Table {
    last_id: u64,
    orders: Map<GraphId, Order>,
    /// By address.
    held: Map<u64, Holding>,
}

/// What one graph's replays come after.
#[derive(Default)]
struct Order {
    /// The last replay, which came after all before it.
    last: Option<Use>,
    /// Uses of the graph's memory by other work since.
    outside: Uses,
    /// Graphs that hold some of the same memory.
    peers: Vec<GraphId>,
}

/// Memory that graphs hold.
#[derive(Default)]
struct Holding {
    /// With whether the graph writes it.
    graphs: Vec<(GraphId, bool)>,
    /// Last replays of graphs that are gone.
    late: Vec<Use>,
    /// The memory, once its buffer was dropped.
    left: Option<Region>,
}

impl GraphTable {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.state)
    }

    /// Takes over `region`, which is being dropped, if a graph still holds it.
    /// `leave` makes a region that owns the memory instead.
    pub(crate) fn inherit(&self, region: &mut Region, leave: fn(&mut Region) -> Region) -> bool {
        let mut table = self.lock();
        let Some(holding) = table.held.get_mut(&region.address) else { return false };
        if !holding.graphs.is_empty() {
            holding.left = Some(leave(region));
            return true;
        }
        let late = std::mem::take(&mut holding.late);
        table.held.remove(&region.address);
        note_all(&region.uses, &late);
        false
    }
}

impl Table {
    /// A new graph, whose first replay comes after the last one of `before`.
    pub(crate) fn add(&mut self, before: Option<GraphId>) -> GraphId {
        self.last_id += 1;
        let (id, order) = (GraphId(self.last_id), Order::default());
        if let Some(last) = before.and_then(|graph| self.orders.get(&graph)?.last) {
            note_all(&order.outside, &[last]);
        }
        self.orders.insert(id, order);
        id
    }

    /// Has the graph hold the region's memory. Whether it did not before.
    pub(crate) fn hold(&mut self, graph: GraphId, region: &Region, is_written: bool) -> bool {
        region.uses.set_held();
        let holding = self.held.entry(region.address).or_default();
        if let Some(entry) = holding.graphs.iter_mut().find(|entry| entry.0 == graph) {
            entry.1 |= is_written;
            return false;
        }
        let others: Vec<GraphId> = holding.graphs.iter().map(|entry| entry.0).collect();
        holding.graphs.push((graph, is_written));
        let mut earlier = region.uses.all();
        earlier.extend(&holding.late);
        for other in others {
            if let Some(order) = self.orders.get_mut(&other) {
                earlier.extend(order.last);
                add_peer(&mut order.peers, graph);
            }
            if let Some(order) = self.orders.get_mut(&graph) {
                add_peer(&mut order.peers, other);
            }
        }
        if let Some(order) = self.orders.get(&graph) {
            note_all(&order.outside, &earlier);
        }
        true
    }

    /// Calls `wait` for each replay that a use of held memory must come after.
    pub(crate) fn before(
        &self,
        address: u64,
        access: Access,
        (stream, first): (StreamId, u64),
        wait: &mut dyn FnMut(Use) -> Result<()>,
    ) -> Result<()> {
        let Some(holding) = self.held.get(&address) else { return Ok(()) };
        let replays = holding.graphs.iter().filter_map(|&(graph, is_written)| {
            let is_ordered = is_written || access != Access::Read;
            if is_ordered { self.orders.get(&graph)?.last } else { None }
        });
        for entry in replays.chain(holding.late.iter().copied()) {
            if entry.stream != stream || entry.sequence < first {
                wait(entry)?;
            }
        }
        Ok(())
    }

    /// Notes a use of held memory with the graphs that hold it.
    pub(crate) fn note(&self, address: u64, access: Access, stream: StreamId, sequence: u64) {
        let Some(holding) = self.held.get(&address) else { return };
        let is_write = access != Access::Read;
        for order in holding.graphs.iter().filter_map(|entry| self.orders.get(&entry.0)) {
            note_all(&order.outside, &[Use { stream, is_write, sequence, is_handover: false }]);
        }
    }

    /// Calls `wait` for each use that a replay must come after.
    #[inline]
    pub(crate) fn before_replay(
        &self,
        graph: GraphId,
        (stream, first): (StreamId, u64),
        wait: &mut dyn FnMut(Use) -> Result<()>,
    ) -> Result<()> {
        match self.orders.get(&graph) {
            Some(order) => order.outside.before((stream, first), Access::Exclusive, wait),
            None => Ok(()),
        }
    }

    /// Notes a replay.
    #[inline]
    pub(crate) fn note_replay(&mut self, graph: GraphId, stream: StreamId, sequence: u64) {
        let replay = Use { stream, is_write: true, sequence, is_handover: false };
        let Some(order) = self.orders.get_mut(&graph) else { return };
        order.last = Some(replay);
        // It came after everything outside: the next replay only needs this one.
        order.outside.note((stream, Lease::NOBODY), Access::Exclusive, sequence);
        if order.peers.is_empty() {
            return;
        }
        let peers = std::mem::take(&mut order.peers);
        for other in peers.iter().filter_map(|peer| self.orders.get(peer)) {
            note_all(&other.outside, &[replay]);
        }
        if let Some(order) = self.orders.get_mut(&graph) {
            order.peers = peers;
        }
    }

    /// How many pieces of memory graphs hold, or held until lately.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn held_len(&self) -> usize {
        self.held.len()
    }

    /// The last replay.
    pub(crate) fn last_replay(&self, graph: GraphId) -> Option<Use> {
        self.orders.get(&graph)?.last
    }

    /// The last replay of a graph that writes the memory at `address`.
    pub(crate) fn last_writer(&self, address: u64) -> Option<Use> {
        let holding = self.held.get(&address)?;
        let writers = holding.graphs.iter().filter(|entry| entry.1);
        let mut last = writers.filter_map(|entry| self.orders.get(&entry.0)?.last);
        last.next_back().or(holding.late.last().copied())
    }

    /// Memory of at least `bytes` bytes that this graph holds alone, whose buffer
    /// was dropped, and that came from `home`: for another buffer of the graph.
    pub(crate) fn reuse(
        &mut self,
        graph: GraphId,
        home: StreamId,
        bytes: usize,
        addresses: &[u64],
    ) -> Option<Region> {
        let fits = |region: &Region| {
            region.home() == home && region.bytes >= bytes && region.bytes <= bytes.max(256) * 2
        };
        let candidates = addresses.iter().filter(|&address| {
            self.held.get(address).is_some_and(|holding| {
                holding.graphs.iter().all(|entry| entry.0 == graph)
                    && holding.left.as_ref().is_some_and(fits)
            })
        });
        let size = |address: &&u64| self.held[*address].left.as_ref().map(|region| region.bytes);
        let best = candidates.min_by_key(size).copied()?;
        self.held.get_mut(&best)?.left.take()
    }

    /// Forgets a graph that held these addresses. What is returned is to be dropped
    /// when the table's lock is free.
    #[must_use]
    pub(crate) fn remove(&mut self, graph: GraphId, addresses: &[u64]) -> Vec<Region> {
        let order = self.orders.remove(&graph).unwrap_or_default();
        for peer in &order.peers {
            if let Some(peer) = self.orders.get_mut(peer) {
                peer.peers.retain(|&other| other != graph);
            }
        }
        let mut freed = Vec::new();
        for address in addresses {
            let Some(holding) = self.held.get_mut(address) else { continue };
            holding.graphs.retain(|entry| entry.0 != graph);
            if let Some(left) = &holding.left {
                note_all(&left.uses, order.last.as_slice());
            } else if let Some(last) = order.last {
                // Graphs go in any order: another's last replay may be the later one.
                match holding.late.iter_mut().find(|late| late.stream == last.stream) {
                    Some(late) => late.sequence = late.sequence.max(last.sequence),
                    None => holding.late.push(last),
                }
            }
            if holding.graphs.is_empty() && holding.left.is_some() {
                let holding = self.held.remove(address);
                freed.extend(holding.and_then(|holding| {
                    let left = holding.left?;
                    note_all(&left.uses, &holding.late);
                    Some(left)
                }));
            }
        }
        freed
    }
}

fn add_peer(peers: &mut Vec<GraphId>, graph: GraphId) {
    if !peers.contains(&graph) {
        peers.push(graph);
    }
}

/// Notes uses that may be older than what is noted: those of several pieces of
/// memory come together here.
fn note_all(uses: &Uses, entries: &[Use]) {
    for &entry in entries {
        uses.note_latest(entry);
    }
}
