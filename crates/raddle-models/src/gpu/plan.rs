//! Cuts a graph into steps: nodes that one launch computes.
//!
//! A step stands where the last of its nodes stood; what it reads was made before, and
//! what lies between its nodes nobody else reads.

use std::collections::HashMap;

use raddle_kernels::Activation;
use raddle_tensor::Tensor;
use raddle_tensor::graph::{Attribute, Graph, Node, NodeId, ValueId};

use crate::{Error, Result};

/// What one launch computes.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its nodes, in order.
    pub nodes: Vec<NodeId>,
    /// How.
    pub work: Work,
    /// The value that it makes.
    pub output: ValueId,
}

/// How a step computes its value.
#[derive(Clone, Debug)]
pub enum Work {
    /// Convolutions or products with constant weights, summed.
    Sum(Sum),
    /// A convolution in groups with constant weights, and what follows it.
    Grouped(Sum),
    /// A convolution of the model's input, and the pooling behind it, its last node.
    Stem(Sum),
    /// The mean over pixels, its first node, and a product with constant weights, its last
    /// one, that makes an output of the model.
    Head(Sum),
    /// A node on its own.
    Node,
}

/// Up to two convolutions with constant weights, an addend and a function of the sum.
#[derive(Clone, Debug)]
pub struct Sum {
    /// The nodes with weights: the last one first.
    pub terms: Vec<NodeId>,
    /// A value that is added.
    pub residual: Option<ValueId>,
    /// The function.
    pub activation: Activation,
}

/// Who reads and who makes each value.
struct Links {
    readers: Vec<Vec<usize>>,
    producers: Vec<Option<usize>>,
}

impl Links {
    fn of(graph: &Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.values.len()];
        let mut producers = vec![None; graph.values.len()];
        for (at, node) in graph.nodes.iter().enumerate() {
            node.reads().for_each(|id| readers[id.index()].push(at));
            node.outputs.iter().flatten().for_each(|id| producers[id.index()] = Some(at));
        }
        // The caller reads outputs.
        graph.outputs.iter().for_each(|id| readers[id.index()].push(usize::MAX));
        Self { readers, producers }
    }

    fn only_reader(&self, value: ValueId) -> Option<usize> {
        match self.readers[value.index()][..] {
            [reader] if reader != usize::MAX => Some(reader),
            _ => None,
        }
    }
}

/// The steps of a graph whose nodes run in `order`.
pub fn steps(graph: &Graph, order: &[NodeId]) -> Result<Vec<Step>> {
    let links = Links::of(graph);
    let known: HashMap<ValueId, &Tensor> =
        graph.constants.iter().map(|(id, tensor)| (*id, tensor)).collect();
    let mut is_taken = vec![false; graph.nodes.len()];
    let rank = |at: usize| order.iter().position(|id| id.0 as usize == at).unwrap_or(usize::MAX);
    let mut steps = Vec::new();
    for &id in order.iter().rev() {
        let at = id.0 as usize;
        if is_taken[at] {
            continue;
        }
        let node = &graph.nodes[at];
        let Some(output) = node.outputs.first().copied().flatten() else {
            return Err(refusal(graph, node, "its first output is not wanted"));
        };
        if let Some((nodes, sum)) = stem(graph, &links, &known, at) {
            nodes.iter().for_each(|id| is_taken[id.0 as usize] = true);
            steps.push(Step { nodes, work: Work::Stem(sum), output });
            continue;
        }
        if let Some(nodes) = head(graph, &links, &known, at) {
            nodes.iter().for_each(|id| is_taken[id.0 as usize] = true);
            let terms = vec![node_id(at)];
            let sum = Sum { terms, residual: None, activation: Activation::IDENTITY };
            steps.push(Step { nodes, work: Work::Head(sum), output });
            continue;
        }
        // Backwards: a function, an addition, then what has weights.
        let mut nodes = vec![at];
        let (mut sum, mut is_grouped, mut top) = (None, false, at);
        let function = activation(node, &known);
        if let Some((_, input)) = function
            && let Some(before) = producer(&links, input)
        {
            nodes.push(before);
            top = before;
        }
        let function = if nodes.len() > 1 { function.map(|(it, _)| it) } else { None };
        let terms = terms_of(graph, &links, &known, top, rank);
        if let Some((terms, residual)) = terms {
            nodes.extend(terms.iter().copied().filter(|&term| term != top));
            is_grouped = terms.iter().any(|&at| in_groups(&graph.nodes[at], &known));
            let terms = terms.into_iter().map(node_id).collect();
            let activation = function.unwrap_or(Activation::IDENTITY);
            sum = Some(Sum { terms, residual, activation });
        }
        let work = match sum {
            Some(sum) if is_grouped => Work::Grouped(sum),
            Some(sum) => Work::Sum(sum),
            None => {
                nodes.truncate(1);
                Work::Node
            }
        };
        nodes.iter().for_each(|&at| is_taken[at] = true);
        nodes.reverse();
        steps.push(Step { nodes: nodes.into_iter().map(node_id).collect(), work, output });
    }
    steps.reverse();
    Ok(steps)
}

fn node_id(at: usize) -> NodeId {
    NodeId(at as u32)
}

/// The producer of a value that nobody else reads.
fn producer(links: &Links, value: ValueId) -> Option<usize> {
    links.only_reader(value)?;
    links.producers[value.index()]
}

/// The convolution of an input of the graph that a node pools, with a function between.
fn stem(
    graph: &Graph,
    links: &Links,
    known: &HashMap<ValueId, &Tensor>,
    at: usize,
) -> Option<(Vec<NodeId>, Sum)> {
    let pool = &graph.nodes[at];
    if !is(pool, "MaxPool") {
        return None;
    }
    let before = producer(links, pool.inputs.first().copied().flatten()?)?;
    let (activation, conv) = match activation(&graph.nodes[before], known) {
        Some((function, input)) => (function, producer(links, input)?),
        None => (Activation::IDENTITY, before),
    };
    let node = &graph.nodes[conv];
    let input = node.inputs.first().copied().flatten()?;
    if !is(node, "Conv") || !has_weights(node, known) || !graph.inputs.contains(&input) {
        return None;
    }
    let mut nodes = vec![node_id(conv), node_id(before), node_id(at)];
    nodes.dedup();
    Some((nodes, Sum { terms: vec![node_id(conv)], residual: None, activation }))
}

/// The nodes from the mean over pixels to a product that makes an output of the model, with
/// nothing but `Flatten` between.
fn head(
    graph: &Graph,
    links: &Links,
    known: &HashMap<ValueId, &Tensor>,
    at: usize,
) -> Option<Vec<NodeId>> {
    let node = &graph.nodes[at];
    let output = node.outputs.first().copied().flatten()?;
    let is_output = links.readers[output.index()] == [usize::MAX];
    if is(node, "Conv") || !has_weights(node, known) || !is_output {
        return None;
    }
    let mut nodes = vec![node_id(at)];
    let mut value = node.inputs.first().copied().flatten()?;
    loop {
        let before = producer(links, value)?;
        nodes.push(node_id(before));
        let node = &graph.nodes[before];
        let is_flat = matches!(node.attribute("axis"), None | Some(Attribute::Int(1)));
        if !is(node, "Flatten") || !is_flat {
            nodes.reverse();
            return (is(node, "GlobalAveragePool") && nodes.len() > 2).then_some(nodes);
        }
        value = node.inputs.first().copied().flatten()?;
    }
}

/// The nodes with weights whose sum a node is, and what else is added.
fn terms_of(
    graph: &Graph,
    links: &Links,
    known: &HashMap<ValueId, &Tensor>,
    at: usize,
    rank: impl Fn(usize) -> usize,
) -> Option<(Vec<usize>, Option<ValueId>)> {
    let node = &graph.nodes[at];
    let is_term = |at: usize| has_weights(&graph.nodes[at], known);
    let is_grouped = |at: usize| in_groups(&graph.nodes[at], known);
    if is_term(at) || is_grouped(at) {
        return Some((vec![at], None));
    }
    if !is(node, "Add") {
        return None;
    }
    let &[Some(left), Some(right)] = &node.inputs[..] else { return None };
    let term = |value: ValueId| producer(links, value).filter(|&at| is_term(at));
    let is_conv = |at: usize| is(&graph.nodes[at], "Conv");
    match (term(left), term(right)) {
        (Some(a), Some(b)) if left != right && is_conv(a) && is_conv(b) => {
            let (last, first) = if rank(a) > rank(b) { (a, b) } else { (b, a) };
            Some((vec![last, first], None))
        }
        // Sums of constants and of other shapes stay on their own.
        (Some(a), _) if is_conv(a) && !known.contains_key(&right) => Some((vec![a], Some(right))),
        (_, Some(b)) if is_conv(b) && !known.contains_key(&left) => Some((vec![b], Some(left))),
        _ => {
            let alone = |value: ValueId| producer(links, value).filter(|&at| is_grouped(at));
            let (grouped, addend) = match (alone(left), alone(right)) {
                (Some(at), _) => (at, right),
                (None, Some(at)) => (at, left),
                (None, None) => return None,
            };
            let is_fit = left != right && !known.contains_key(&addend);
            is_fit.then(|| (vec![grouped], Some(addend)))
        }
    }
}

/// Whether a node is a product with constant weights that the kernel computes.
fn has_weights(node: &Node, known: &HashMap<ValueId, &Tensor>) -> bool {
    let Some(weights) = weights(node, known) else { return false };
    match node.op.name {
        "Conv" if is(node, "Conv") => weights.rank() == 4 && groups(node) == 1,
        "Gemm" if is(node, "Gemm") => {
            let transposes = matches!(node.attribute("transA"), Some(Attribute::Int(n)) if *n != 0);
            weights.rank() == 2 && !transposes
        }
        _ => false,
    }
}

/// Whether a node is a convolution in groups with constant weights.
fn in_groups(node: &Node, known: &HashMap<ValueId, &Tensor>) -> bool {
    let is_image = weights(node, known).is_some_and(|weights| weights.rank() == 4);
    is(node, "Conv") && is_image && groups(node) > 1
}

/// The second operand of a node, if it and the third, if there is one, are constants.
fn weights<'a>(node: &Node, known: &HashMap<ValueId, &'a Tensor>) -> Option<&'a Tensor> {
    let constant = |at: usize| known.get(&node.inputs.get(at).copied().flatten()?).copied();
    let has_bias = node.inputs.get(2).copied().flatten().is_some();
    if has_bias && constant(2).is_none() {
        return None;
    }
    constant(1)
}

/// Groups of a convolution.
pub fn groups(node: &Node) -> usize {
    match node.attribute("group") {
        Some(Attribute::Int(groups)) => usize::try_from(*groups).unwrap_or(0),
        _ => 1,
    }
}

/// The function that a node is, and what of.
fn activation(node: &Node, known: &HashMap<ValueId, &Tensor>) -> Option<(Activation, ValueId)> {
    let input = node.inputs.first().copied().flatten()?;
    let float = |name: &str, default: f32| match node.attribute(name) {
        Some(Attribute::Float(number)) => *number,
        _ => default,
    };
    let bound = |at: usize, name: &str, default: f32| match node.inputs.get(at).copied().flatten() {
        Some(id) => match known.get(&id)?.elements::<f32>().ok()? {
            &[number] => Some(number),
            _ => None,
        },
        None => Some(float(name, default)),
    };
    if !node.op.domain.is_empty() {
        return None;
    }
    let function = match node.op.name {
        "Relu" => Activation::RELU,
        "Clip" => {
            Activation::clip(bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?)
        }
        "LeakyRelu" => Activation::leaky_relu(float("alpha", 0.01)),
        "Sigmoid" => Activation::SIGMOID,
        "Tanh" => Activation::TANH,
        "HardSwish" => Activation::HARD_SWISH,
        _ => return None,
    };
    Some((function, input))
}

/// Whether a node is ONNX's own operation of this name.
pub fn is(node: &Node, name: &str) -> bool {
    node.op.domain.is_empty() && node.op.name == name
}

/// The error for a node without a kernel.
pub fn refusal(graph: &Graph, node: &Node, why: impl Into<String>) -> Error {
    Error::NotOnGpu {
        node: graph.node_name(node),
        op: node.op.full_name(),
        opset: node.opset,
        why: why.into(),
    }
}
