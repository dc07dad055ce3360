//! What passes made of a graph: which nodes as they were written became which
//! nodes as they run, and where values lie in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use raddle_tensor::graph::{Graph, ValueId};
use raddle_tensor::infer;
use raddle_tensor::memory_plan::{self, MemoryPlan, Request};
use raddle_tensor::{Error, passes};

use super::cost::{self, describe};
use crate::run::FreeDim;

/// A graph after all passes.
#[derive(Debug, Clone, Default)]
pub struct Fused {
    /// Name and summary of each pass, and how many nodes it changed.
    pub passes: Vec<(&'static str, &'static str, usize)>,
    /// Nodes in the order in which they run.
    pub nodes: Vec<FusedNode>,
    /// Where results lie.
    pub memory: Arena,
}

/// A node that runs.
#[derive(Debug, Clone)]
pub struct FusedNode {
    pub op: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// Operations and names of the written nodes that it stands for.
    pub made_of: Vec<(String, String)>,
    /// Type of the first output, with symbols.
    pub output_type: String,
}

impl FusedNode {
    /// What it is made of, in words: `Conv + Add + Relu`.
    pub fn recipe(&self) -> String {
        let ops: Vec<&str> = self.made_of.iter().map(|(op, _)| op.as_str()).collect();
        ops.join(" + ")
    }
}

/// The memory plan.
#[derive(Debug, Clone, Default)]
pub struct Arena {
    /// What is placed.
    pub requests: Vec<Request>,
    /// Name of each value that is.
    pub names: Vec<String>,
    /// Values that get memory when their size is known.
    pub open: Vec<String>,
    /// Where it lies; `None` if there is nothing to place.
    pub plan: Option<MemoryPlan>,
}

/// What offsets are multiples of, in bytes.
pub const ALIGNMENT: usize = 256;

impl Fused {
    /// Runs the passes on a copy of a graph.
    ///
    /// ## Errors
    /// Those of passes and inference.
    pub fn of(written: &Graph, dims: &[FreeDim]) -> Result<Self, Error> {
        let mut graph = written.clone();
        let changes = passes::optimise(&mut graph)?;
        let passes = passes::PASSES.iter().zip(changes);
        let passes = passes.map(|(pass, (name, count))| (name, pass.summary, count)).collect();
        let symbolic = infer::types(&graph, &[])?;
        let remains: HashSet<&str> = made(&graph).chain(constants(&graph)).collect();
        let origin = Origin::of(written, &remains);
        let node = |node: &raddle_tensor::graph::Node| {
            let name = |id: &ValueId| graph.name_of(*id).to_owned();
            let first = node.outputs.iter().flatten().next();
            let info = first.and_then(|id| symbolic[id.index()].as_ref());
            FusedNode {
                op: node.op.full_name(),
                inputs: node.reads().map(|id| name(&id)).collect(),
                outputs: node.outputs.iter().flatten().map(name).collect(),
                made_of: first.map_or(Vec::new(), |id| origin.of_value(graph.name_of(*id))),
                output_type: info.map_or(String::new(), describe),
            }
        };
        let order = graph.order()?;
        let nodes = order.into_iter().map(|at| node(&graph.nodes[at])).collect();
        Ok(Self { passes, nodes, memory: Arena::of(&graph, dims)? })
    }

    /// How many nodes there are of each recipe of more than one.
    pub fn recipes(&self) -> BTreeMap<String, usize> {
        let mut recipes = BTreeMap::new();
        for node in self.nodes.iter().filter(|node| node.made_of.len() > 1) {
            *recipes.entry(node.recipe()).or_insert(0) += 1;
        }
        recipes
    }
}

fn made(graph: &Graph) -> impl Iterator<Item = &str> {
    let outputs = graph.nodes.iter().flat_map(|node| node.outputs.iter().flatten());
    outputs.map(|id| graph.name_of(*id))
}

fn constants(graph: &Graph) -> impl Iterator<Item = &str> {
    graph.constants.iter().map(|(id, _)| graph.name_of(*id))
}

/// The written graph, walked from a value back to values that still exist.
struct Origin<'g> {
    written: &'g Graph,
    /// The written node that makes a value.
    makers: HashMap<&'g str, usize>,
    remains: &'g HashSet<&'g str>,
}

impl<'g> Origin<'g> {
    fn of(written: &'g Graph, remains: &'g HashSet<&'g str>) -> Self {
        let mut makers = HashMap::new();
        for (at, node) in written.nodes.iter().enumerate() {
            for id in node.outputs.iter().flatten() {
                makers.insert(written.name_of(*id), at);
            }
        }
        Self { written, makers, remains }
    }

    /// Operations and names of the nodes between a value and those that remain.
    fn of_value(&self, name: &str) -> Vec<(String, String)> {
        let mut found = HashSet::new();
        let mut open: Vec<usize> = self.makers.get(name).copied().into_iter().collect();
        while let Some(at) = open.pop() {
            if !found.insert(at) {
                continue;
            }
            let node = &self.written.nodes[at];
            for id in node.reads() {
                let read = self.written.name_of(id);
                if !self.remains.contains(read) {
                    open.extend(self.makers.get(read));
                }
            }
        }
        let mut found: Vec<usize> = found.into_iter().collect();
        found.sort_unstable();
        let label = |at: usize| {
            let node = &self.written.nodes[at];
            (node.op.full_name(), self.written.node_name(node))
        };
        found.into_iter().map(label).collect()
    }
}

impl Arena {
    fn of(graph: &Graph, dims: &[FreeDim]) -> Result<Self, Error> {
        let infos = infer::types(graph, &cost::lens(graph, dims, &mut Vec::new()))?;
        let found = memory_plan::requests(graph, |id| {
            let info = infos[id.index()].as_ref()?;
            memory_plan::bytes_of(info, &info.shape()?)
        })?;
        let name = |id: &ValueId| graph.name_of(*id).to_owned();
        Ok(Self {
            plan: Some(memory_plan::plan(&found.requests, ALIGNMENT)),
            names: found.values.iter().map(name).collect(),
            open: found.open.iter().map(name).collect(),
            requests: found.requests,
        })
    }
}
