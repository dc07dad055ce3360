//! What is known about a model, put together for all ways to show it.

use std::collections::{BTreeMap, HashMap, HashSet};

use raddle_models::Precision;
use raddle_models::gpu::Route;
use raddle_tensor::graph::Graph;

use super::cost::{self, Cost, Kind};
use super::fused::Fused;
use super::launches::{Launches, Target};
use super::structure::{Node, Structure};
use crate::run::FreeDim;

/// What is known about a model.
#[derive(Debug)]
pub struct Report {
    /// As it was asked for.
    pub model: String,
    pub structure: Structure,
    /// Why the model does not load.
    pub load_error: Option<String>,
    /// Shapes and operations, or why they are not known.
    pub cost: Result<Cost, String>,
    /// The graph as it runs and its memory plan, or why there is none.
    pub fused: Result<Fused, String>,
    /// The way that it goes on a GPU in `f16`, or why there is none.
    pub half: Result<Route, String>,
    /// Launches on the device that was asked for, or why there are none.
    pub launches: Option<Result<Launches, String>>,
    /// A line for each operation, the most expensive first.
    pub ops: Vec<OpRow>,
}

/// All nodes of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRow {
    pub op: String,
    pub nodes: usize,
    /// Elements of the weights that the nodes read.
    pub parameters: u64,
    pub flops: u64,
    pub is_supported: bool,
}

impl Report {
    /// Measures a loaded model and puts everything together.
    pub fn new(
        model: &str,
        structure: Structure,
        loaded: raddle_onnx::Result<Graph>,
        dims: &[FreeDim],
        target: Option<(Target, Precision)>,
    ) -> Self {
        let mut launches = None;
        let (load_error, cost, fused, half) = match loaded {
            Ok(graph) => {
                let cost = cost::measure(&graph, dims).map_err(|error| error.to_string());
                launches = target.map(|(target, precision)| {
                    let cost = cost.as_ref().map_err(Clone::clone)?;
                    let shape = |name: &str| cost.kinds.get(name).map(|kind| kind.shape.clone());
                    let names = graph.inputs.iter().map(|&id| graph.name_of(id));
                    let shapes = names.map(|name| {
                        shape(name).ok_or_else(|| format!("the shape of input {name} is unknown"))
                    });
                    let shapes: Vec<_> = shapes.collect::<Result<_, _>>()?;
                    Launches::of(&graph, target, precision, &shapes)
                });
                let fused = Fused::of(&graph, dims).map_err(|error| error.to_string());
                let half = Route::of(&graph, Precision::F16).map_err(|error| error.to_string());
                (None, cost, fused, half)
            }
            Err(error) => {
                let why = || "the model does not load".to_owned();
                (Some(error.to_string()), Err(why()), Err(why()), Err(why()))
            }
        };
        let (model, ops) = (model.to_owned(), Vec::new());
        let mut report = Self { model, structure, load_error, cost, fused, half, launches, ops };
        report.ops = report.count_ops();
        report
    }

    /// Type and shape of a value, if they are known.
    pub fn kind(&self, value: &str) -> Option<&Kind> {
        self.cost.as_ref().ok()?.kinds.get(value)
    }

    /// Type of a value with symbols, empty if it is not known.
    pub fn symbolic(&self, value: &str) -> &str {
        let types = self.cost.as_ref().ok().map(|cost| &cost.symbolic);
        types.and_then(|types| types.get(value)).map_or("", String::as_str)
    }

    /// Floating-point operations of a node.
    pub fn flops(&self, node: &Node) -> u64 {
        let count = |output: &String| self.cost.as_ref().ok()?.flops.get(output).copied();
        node.outputs.iter().find_map(count).unwrap_or(0)
    }

    /// Elements of the weights that a node reads.
    pub fn parameters(&self, node: &Node) -> u64 {
        let len = |name: &String| {
            let constants = &self.structure.constants;
            constants.iter().find(|constant| constant.name == *name).map(|constant| constant.len)
        };
        node.inputs.iter().filter_map(len).fold(0, u64::saturating_add)
    }

    /// Elements and bytes of all weights.
    pub fn weights(&self) -> (u64, u64) {
        let constants = &self.structure.constants;
        constants
            .iter()
            .fold((0, 0), |(len, bytes), constant| (len + constant.len, bytes + constant.bytes()))
    }

    /// Nodes that cannot run, with the reasons.
    pub fn problems(&self) -> impl Iterator<Item = (&Node, &str)> {
        let of_node = |node| Node::problems(node).map(move |reason| (node, reason));
        self.structure.nodes.iter().flat_map(of_node)
    }

    /// Indices of the nodes that depend on an input; the others are constants that
    /// are written as nodes.
    pub fn live_nodes(&self) -> Vec<usize> {
        let nodes = &self.structure.nodes;
        let mut live: HashSet<&str> =
            self.structure.inputs.iter().map(|(name, _)| name.as_str()).collect();
        let mut found = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            let reads_live = node.inputs.iter().any(|name| live.contains(name.as_str()));
            // Control flow may read what only its bodies name.
            if reads_live || matches!(node.op.as_str(), "If" | "Loop" | "Scan") {
                live.extend(node.outputs.iter().map(String::as_str));
                found.push(at);
            }
        }
        found
    }

    fn count_ops(&self) -> Vec<OpRow> {
        let lens: HashMap<&str, u64> = self
            .structure
            .constants
            .iter()
            .map(|constant| (constant.name.as_str(), constant.len))
            .collect();
        let mut rows: BTreeMap<&str, OpRow> = BTreeMap::new();
        for node in &self.structure.nodes {
            let row = rows.entry(&node.op).or_insert_with(|| OpRow {
                op: node.op.clone(),
                nodes: 0,
                parameters: 0,
                flops: 0,
                is_supported: true,
            });
            row.nodes += 1;
            let read = node.inputs.iter().filter_map(|name| lens.get(name.as_str()));
            row.parameters = read.fold(row.parameters, |sum, len| sum.saturating_add(*len));
            row.flops += self.flops(node);
            row.is_supported &= node.problems.is_empty();
        }
        let mut rows: Vec<OpRow> = rows.into_values().collect();
        rows.sort_by(|a, b| (b.flops, b.nodes, &a.op).cmp(&(a.flops, a.nodes, &b.op)));
        rows
    }
}

impl Node {
    fn problems(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().map(String::as_str)
    }
}
