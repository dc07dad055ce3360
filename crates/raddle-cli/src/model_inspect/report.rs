//! What is known about a model, put together for all ways to show it.

use std::collections::{BTreeMap, HashMap, HashSet};

use raddle_onnx::Model;

use super::cost::{self, Cost, Kind};
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
    /// Memory of activations.
    pub memory: Memory,
    /// A line for each operation, the most expensive first.
    pub ops: Vec<OpRow>,
}

/// Memory of a run besides the weights, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// The most that must exist at a moment when nodes run in the file's order.
    pub peak_bytes: u64,
    /// All values together.
    pub total_bytes: u64,
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
        loaded: raddle_onnx::Result<Model>,
        dims: &[FreeDim],
    ) -> Self {
        let (load_error, cost) = match loaded {
            Ok(loaded) => (None, cost::measure(&loaded, dims).map_err(|error| error.to_string())),
            Err(error) => (Some(error.to_string()), Err("the model does not load".to_owned())),
        };
        let memory = cost.as_ref().map_or(Memory::default(), |cost| memory(&structure, cost));
        let mut report =
            Self { model: model.to_owned(), structure, load_error, cost, memory, ops: Vec::new() };
        report.ops = report.count_ops();
        report
    }

    /// Type and shape of a value, if they are known.
    pub fn kind(&self, value: &str) -> Option<&Kind> {
        self.cost.as_ref().ok()?.kinds.get(value)
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

/// Values live from the node that makes them to the last that reads them, inputs
/// from the beginning and outputs to the end.
fn memory(structure: &Structure, cost: &Cost) -> Memory {
    let end = structure.nodes.len();
    let mut last_use: HashMap<&str, usize> = HashMap::new();
    for (at, node) in structure.nodes.iter().enumerate() {
        for name in node.inputs.iter().chain(&node.outputs) {
            last_use.insert(name, at);
        }
    }
    for (name, _) in &structure.outputs {
        last_use.insert(name, end);
    }
    let bytes = |name: &str| cost.kinds.get(name).map_or(0, Kind::bytes);
    let mut live: u64 = structure.inputs.iter().map(|(name, _)| bytes(name)).sum();
    let mut memory = Memory { peak_bytes: live, total_bytes: live };
    let mut freed: Vec<Vec<&str>> = vec![Vec::new(); end + 1];
    let inputs = structure.inputs.iter().map(|(name, _)| name.as_str());
    let made = structure.nodes.iter().flat_map(|node| node.outputs.iter().map(String::as_str));
    for name in inputs.chain(made) {
        if let Some(at) = last_use.get(name) {
            freed[*at].push(name);
        }
    }
    for (at, node) in structure.nodes.iter().enumerate() {
        let made: u64 = node.outputs.iter().map(|name| bytes(name)).sum();
        live += made;
        memory.total_bytes += made;
        memory.peak_bytes = memory.peak_bytes.max(live);
        live = live.saturating_sub(freed[at].iter().map(|name| bytes(name)).sum());
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;
    use raddle_tensor::DType;

    #[test]
    fn memory_is_freed_after_the_last_use() {
        let node = |inputs: &[&str], output: &str| Node {
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![output.to_owned()],
            ..Node::default()
        };
        let pair = |name: &str| (name.to_owned(), String::new());
        let structure = Structure {
            inputs: vec![pair("x")],
            outputs: vec![pair("d")],
            nodes: vec![node(&["x"], "a"), node(&["a"], "b"), node(&["b", "x"], "d")],
            ..Structure::default()
        };
        let kind = |len| Kind { dtype: DType::F32, shape: vec![len] };
        let kinds = [("x", 1), ("a", 10), ("b", 20), ("d", 2)];
        let kinds = kinds.map(|(name, len)| (name.to_owned(), kind(len))).into();
        let cost = Cost { kinds, ..Cost::default() };
        // x, a and b exist when b is made.
        let expected = Memory { peak_bytes: 31 * 4, total_bytes: 33 * 4 };
        assert_eq!(memory(&structure, &cost), expected);
    }
}
