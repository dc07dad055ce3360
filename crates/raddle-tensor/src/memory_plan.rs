//! Where in one arena each value lies, so that values which are never alive
//! together share memory.
//!
//! [`plan`] knows nothing of graphs: it places blocks with sizes and lifetimes,
//! and tells the bound that no placement can beat, the largest sum of what is
//! alive in one step. [`requests`] makes such blocks from a graph: a value lives
//! from the step that makes it to the last one that reads it, lies where its
//! input lay if the operation only looks at the elements in another way, and
//! takes that place over if the operation may write over an input that nobody
//! needs afterwards. Constants and inputs of the graph lie elsewhere.

use std::cmp::Reverse;

use crate::graph::{Graph, Node, ValueId};
use crate::infer::TensorInfo;
use crate::op::Placement;
use crate::{Result, Tensor};

/// A value that needs memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Request {
    /// Size; 0 needs no place.
    pub bytes: usize,
    /// Step that makes it.
    pub first: usize,
    /// Last step that needs it.
    pub last: usize,
    /// An earlier request in whose place it lies: a view of it, or a result
    /// written over it.
    pub shares: Option<usize>,
}

/// A placement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryPlan {
    /// Offset in the arena of each request.
    pub offsets: Vec<usize>,
    /// Size of the arena.
    pub peak_bytes: usize,
    /// The largest sum of bytes that are alive in one step; no arena can be smaller.
    pub bound_bytes: usize,
}

/// Requests that lie in one place, as one block.
#[derive(Clone, Copy, Debug)]
struct Block {
    bytes: usize,
    first: usize,
    last: usize,
}

impl Block {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// Places requests; every offset is a multiple of `alignment`, which must not be 0.
pub fn plan(requests: &[Request], alignment: usize) -> MemoryPlan {
    let (blocks, block_of) = blocks(requests, alignment);
    let bound_bytes = bound(&blocks);
    // No one order is best for all graphs; each costs little.
    let orders: [fn(&Block) -> usize; 3] = [
        |block| block.bytes,
        |block| block.bytes.saturating_mul(block.last - block.first + 1),
        |block| block.last - block.first,
    ];
    let mut best: Option<(usize, Vec<usize>)> = None;
    for weight in orders {
        let (peak, offsets) = place(&blocks, &pressured(&blocks, weight, bound_bytes));
        if best.as_ref().is_none_or(|(known, _)| peak < *known) {
            best = Some((peak, offsets));
        }
        if peak == bound_bytes {
            break;
        }
    }
    let (peak_bytes, places) = best.expect("there is at least one order");
    let offsets = block_of.iter().map(|&block| places[block]).collect();
    MemoryPlan { offsets, peak_bytes, bound_bytes }
}

/// Requests joined with those whose places they share; which block each is in.
fn blocks(requests: &[Request], alignment: usize) -> (Vec<Block>, Vec<usize>) {
    let mut blocks: Vec<Block> = Vec::new();
    let mut block_of: Vec<usize> = Vec::with_capacity(requests.len());
    for request in requests {
        let bytes = request.bytes.next_multiple_of(alignment);
        match request.shares {
            Some(other) => {
                let at = block_of[other];
                let block = &mut blocks[at];
                block.bytes = block.bytes.max(bytes);
                block.first = block.first.min(request.first);
                block.last = block.last.max(request.last);
                block_of.push(at);
            }
            None => {
                blocks.push(Block { bytes, first: request.first, last: request.last });
                block_of.push(blocks.len() - 1);
            }
        }
    }
    (blocks, block_of)
}

/// The largest sum of what is alive in one step.
fn bound(blocks: &[Block]) -> usize {
    alive(blocks).into_iter().max().unwrap_or(0)
}

/// Bytes that are alive in each step.
fn alive(blocks: &[Block]) -> Vec<usize> {
    let steps = blocks.iter().map(|block| block.last + 1).max().unwrap_or(0);
    let mut alive = vec![0; steps];
    for block in blocks {
        alive[block.first..=block.last].iter_mut().for_each(|sum| *sum += block.bytes);
    }
    alive
}

/// Indices of blocks: those first that are alive when memory is scarcest, then by weight.
fn pressured(blocks: &[Block], weight: fn(&Block) -> usize, bound: usize) -> Vec<usize> {
    let alive = alive(blocks);
    let is_scarce =
        |block: &Block| alive[block.first..=block.last].iter().any(|&sum| sum >= bound - bound / 8);
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    let key = |block: &Block| (!is_scarce(block), Reverse(weight(block)), block.first);
    order.sort_by_cached_key(|&at| key(&blocks[at]));
    order
}

/// Puts each block into the tightest gap between those that are alive with it.
fn place(blocks: &[Block], order: &[usize]) -> (usize, Vec<usize>) {
    let mut offsets = vec![0usize; blocks.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(blocks.len());
    let mut peak = 0;
    for &at in order {
        let block = &blocks[at];
        if block.bytes == 0 {
            continue;
        }
        // `placed` is sorted by offset.
        let (mut end, mut best) = (0usize, None);
        for &other in placed.iter().filter(|&&other| blocks[other].meets(block)) {
            let gap = offsets[other].saturating_sub(end);
            if gap >= block.bytes && best.is_none_or(|(tightest, _)| gap < tightest) {
                best = Some((gap, end));
            }
            end = end.max(offsets[other] + blocks[other].bytes);
        }
        let offset = best.map_or(end, |(_, offset)| offset);
        offsets[at] = offset;
        peak = peak.max(offset + block.bytes);
        let place = placed.partition_point(|&other| offsets[other] <= offset);
        placed.insert(place, at);
    }
    (peak, offsets)
}

/// The requests of a graph for given types of its values, and which value each
/// is for. Steps are nodes in the order in which a plan runs them. Values whose
/// size is not known before the run are `open`: they get memory when they are made.
#[derive(Clone, Debug, Default)]
pub struct GraphRequests {
    /// What to place.
    pub requests: Vec<Request>,
    /// The value of each request.
    pub values: Vec<ValueId>,
    /// Values whose size only a run knows.
    pub open: Vec<ValueId>,
}

/// What a graph needs while it runs.
///
/// ## Errors
/// Those of a graph without an order.
pub fn requests(
    graph: &Graph,
    bytes_of: impl Fn(ValueId) -> Option<usize>,
) -> Result<GraphRequests> {
    let order = graph.order()?;
    let mut last = vec![0usize; graph.values.len()];
    for (step, &at) in order.iter().enumerate() {
        graph.nodes[at].reads().for_each(|id| last[id.index()] = step);
        graph.nodes[at].outputs.iter().flatten().for_each(|id| last[id.index()] = step);
    }
    graph.outputs.iter().for_each(|id| last[id.index()] = order.len());
    let mut found = GraphRequests::default();
    let mut places = Places { request_of: vec![None; graph.values.len()], ..Places::default() };
    for (step, &at) in order.iter().enumerate() {
        let node = &graph.nodes[at];
        for (index, id) in node.outputs.iter().enumerate() {
            let Some(id) = *id else { continue };
            let Some(bytes) = bytes_of(id) else {
                found.open.push(id);
                continue;
            };
            let last = last[id.index()];
            let shares = places.shared(node, index, step, bytes, &found.requests);
            places.add(id, shares, last);
            found.requests.push(Request { bytes, first: step, last, shares });
            found.values.push(id);
        }
    }
    Ok(found)
}

/// Which requests lie in one place.
#[derive(Default)]
struct Places {
    /// The request of each value.
    request_of: Vec<Option<usize>>,
    /// The first request in the place of each request.
    root_of: Vec<usize>,
    /// Last step that needs the place, by its first request.
    ends: Vec<usize>,
}

impl Places {
    /// The request in whose place output `index` of a node may lie.
    fn shared(
        &self,
        node: &Node,
        index: usize,
        step: usize,
        bytes: usize,
        requests: &[Request],
    ) -> Option<usize> {
        let request = |at: usize| self.request_of[node.inputs.get(at).copied()??.index()];
        let is_free = |at: &usize| {
            let root = self.root_of[*at];
            let readers = (0..node.inputs.len()).filter_map(request);
            // Two operands in one place may be walked in different ways.
            let is_once = readers.filter(|&other| self.root_of[other] == root).count() == 1;
            is_once && self.ends[root] <= step && requests[*at].bytes == bytes
        };
        match node.op.placement {
            Placement::View if index == 0 => request(0),
            Placement::Over if index == 0 => {
                (0..node.inputs.len()).filter_map(request).find(is_free)
            }
            Placement::Own | Placement::View | Placement::Over => None,
        }
    }

    fn add(&mut self, value: ValueId, shares: Option<usize>, last: usize) {
        let number = self.root_of.len();
        let root = shares.map_or(number, |request| self.root_of[request]);
        self.request_of[value.index()] = Some(number);
        self.root_of.push(root);
        self.ends.push(last);
        self.ends[root] = self.ends[root].max(last);
    }
}

/// Bytes of a tensor of a type whose shape is known; types below a byte take one.
pub fn bytes_of(info: &TensorInfo, shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(info.dtype.bits().div_ceil(8).max(1), |bytes, &len| bytes.checked_mul(len))
}

/// Bytes of all elements of a tensor.
pub fn tensor_bytes(tensor: &Tensor) -> usize {
    tensor.len() * tensor.dtype().bits().div_ceil(8).max(1)
}

#[cfg(test)]
mod tests;
