//! Images stay in blocks of channels from one convolution to the next.
//!
//! A convolution in blocks is written with its image brought into blocks ahead of
//! it and its result brought out of them. Here the operations in between are moved
//! into blocks where they compute the same there, and what then goes out and in
//! again goes neither way.

use std::collections::HashMap;

use super::{Uses, constant_input, constants, is, only_output, remove_nodes};
use crate::blocked::{self, BLOCK_LEN};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::{DType, Op, Result, Tensor, ops};

/// Adds a node that brings a value into blocks.
///
/// ## Errors
/// None.
pub fn add_block(graph: &mut Graph, plain: ValueId, channels: usize) -> Result<ValueId> {
    let blocks = graph.add_value(format!("{}/blocks", graph.name_of(plain)), None);
    let node = Node {
        name: String::new(),
        op: ops::find(ops::INTERNAL_DOMAIN, "Block", 1)?,
        inputs: vec![Some(plain)],
        outputs: vec![Some(blocks)],
        attributes: vec![("channels".into(), Attribute::Int(channels as i64))],
        opset: 1,
    };
    graph.add_node(node)?;
    Ok(blocks)
}

/// Adds a node that brings a new value out of blocks, which is then `plain`. The new
/// value gets its name, unless users ask for that.
///
/// ## Errors
/// None.
pub fn add_unblock(graph: &mut Graph, plain: ValueId, channels: usize) -> Result<ValueId> {
    let name = graph.name_of(plain).to_owned();
    let blocks = if graph.outputs.contains(&plain) {
        graph.add_value(format!("{name}/blocks"), None)
    } else {
        graph.values[plain.index()].name = format!("{name}/planes");
        graph.add_value(name, None)
    };
    let node = Node {
        name: String::new(),
        op: ops::find(ops::INTERNAL_DOMAIN, "Unblock", 1)?,
        inputs: vec![Some(blocks)],
        outputs: vec![Some(plain)],
        attributes: vec![("channels".into(), Attribute::Int(channels as i64))],
        opset: 1,
    };
    graph.add_node(node)?;
    Ok(blocks)
}

/// Moves operations into blocks.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn keep(graph: &mut Graph) -> Result<usize> {
    // What is wrong with a graph is said when it runs.
    let Ok(order) = graph.order() else { return Ok(0) };
    let mut pass =
        Keep { known: constants(graph), blocked: HashMap::new(), same: HashMap::new(), count: 0 };
    let mut is_gone = vec![false; graph.nodes.len()];
    for at in order {
        for input in graph.nodes[at].inputs.iter_mut().flatten() {
            *input = *pass.same.get(input).unwrap_or(input);
        }
        is_gone[at] = pass.visit(graph, at)?;
    }
    is_gone.resize(graph.nodes.len(), false);
    remove_nodes(graph, &is_gone);
    remove_unread(graph);
    Ok(pass.count)
}

/// Values that have a form in blocks.
struct Keep {
    known: HashMap<ValueId, Tensor>,
    blocked: HashMap<ValueId, Blocked>,
    /// Values that are another value.
    same: HashMap<ValueId, ValueId>,
    count: usize,
}

/// A value in blocks.
#[derive(Clone, Copy)]
struct Blocked {
    value: ValueId,
    channels: usize,
    /// Whether it was made in blocks, and not brought into them.
    is_native: bool,
}

impl Keep {
    /// Looks at a node, whose operands were all looked at; returns whether it goes.
    fn visit(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        let node = &graph.nodes[at];
        let (Some(output), Some(&Some(input))) = (only_output(node), node.inputs.first()) else {
            return self.split(graph, at);
        };
        let channels = match node.attribute("channels") {
            Some(Attribute::Int(channels)) => usize::try_from(*channels).unwrap_or(0),
            _ => 0,
        };
        if is_internal(node, "Unblock") {
            let blocked = Blocked { value: input, channels, is_native: true };
            self.blocked.insert(output, blocked);
            return Ok(false);
        }
        if is_internal(node, "Block") {
            if let Some(found) = self.blocked.get(&input).filter(|it| it.channels == channels) {
                self.same.insert(output, found.value);
                self.count += 1;
                return Ok(true);
            }
            let blocked = Blocked { value: output, channels, is_native: false };
            self.blocked.insert(input, blocked);
            return Ok(false);
        }
        let name = node.op.name;
        let is_own = node.op.domain.is_empty();
        match name {
            _ if !is_own => Ok(false),
            _ if UNARY.contains(&name) || BINARY.contains(&name) => self.elementwise(graph, at),
            "MaxPool" => self.pool(graph, at, "BlockedMaxPool"),
            "AveragePool" => self.pool(graph, at, "BlockedAveragePool"),
            "GlobalAveragePool" => self.global_mean(graph, at),
            "ReduceMean" if self.is_global(graph, at) => self.global_mean(graph, at),
            "Concat" => self.concat(graph, at),
            "Resize" => self.resize(graph, at),
            "Split" => self.split(graph, at),
            _ => Ok(false),
        }
    }

    /// The node with other operands, whose result comes in blocks.
    fn replace(
        &mut self,
        graph: &mut Graph,
        at: usize,
        op: &'static Op,
        inputs: Vec<Option<ValueId>>,
        channels: usize,
    ) -> Result<bool> {
        let output = only_output(&graph.nodes[at]).expect("only such nodes are replaced");
        let value = add_unblock(graph, output, channels)?;
        let node = &mut graph.nodes[at];
        node.op = op;
        node.inputs = inputs;
        node.outputs = vec![Some(value)];
        if !op.domain.is_empty() {
            node.opset = 1;
            let is_known = |name: &str| op.attributes.iter().any(|(own, _)| *own == name);
            node.attributes.retain(|(name, _)| is_known(name));
        }
        op.check(node)?;
        self.blocked.insert(output, Blocked { value, channels, is_native: true });
        self.count += 1;
        Ok(false)
    }

    fn elementwise(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        let node = graph.nodes[at].clone();
        let divisor = constant_input(&self.known, &node, 1).map(|it| it.elements::<f32>());
        if node.op.name == "Div" && !matches!(divisor, Some(Ok([x])) if *x != 0.0) {
            return Ok(false);
        }
        let operands = if node.op.name == "Clip" { 1 } else { node.inputs.len() };
        let found: Vec<Option<Blocked>> = node.inputs[..operands]
            .iter()
            .map(|id| id.and_then(|id| self.blocked.get(&id).copied()))
            .collect();
        let Some(first) = found.iter().flatten().find(|it| it.is_native) else { return Ok(false) };
        let mut inputs = node.inputs.clone();
        for (at, found) in found.iter().enumerate() {
            inputs[at] = match (found, node.inputs[at]) {
                (Some(found), _) if found.channels == first.channels => Some(found.value),
                (None, Some(id)) => match self.constant(graph, id, first.channels)? {
                    Some(id) => Some(id),
                    None => return Ok(false),
                },
                _ => return Ok(false),
            };
        }
        self.replace(graph, at, node.op, inputs, first.channels)
    }

    /// A constant that broadcasts to an image, in blocks.
    fn constant(
        &mut self,
        graph: &mut Graph,
        id: ValueId,
        channels: usize,
    ) -> Result<Option<ValueId>> {
        let Some(tensor) = self.known.get(&id).filter(|it| it.dtype() == DType::F32) else {
            return Ok(None);
        };
        let elements = tensor.elements::<f32>()?;
        // What fills up blocks must stay finite.
        if !elements.iter().all(|x| x.is_finite()) || tensor.rank() > 4 {
            return Ok(None);
        }
        match *tensor.shape() {
            _ if elements.len() == 1 => Ok(Some(id)),
            [len, 1, 1] | [1, len, 1, 1] if len == channels => {
                let padded = blocked::pad(elements);
                let shape = [1, padded.len() / BLOCK_LEN, 1, 1, BLOCK_LEN];
                let name = format!("{}/blocks", graph.name_of(id));
                Ok(Some(graph.add_constant(name, Tensor::new(&shape, padded)?)))
            }
            _ => Ok(None),
        }
    }

    fn pool(&mut self, graph: &mut Graph, at: usize, name: &str) -> Result<bool> {
        let node = &graph.nodes[at];
        let image = matches!(node.attribute("kernel_shape"), Some(Attribute::Ints(list)) if list.len() == 2);
        match self.native(node, 0).filter(|_| image) {
            Some(found) => {
                let op = ops::find(ops::INTERNAL_DOMAIN, name, 1)?;
                self.replace(graph, at, op, vec![Some(found.value)], found.channels)
            }
            None => Ok(false),
        }
    }

    fn global_mean(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        match self.native(&graph.nodes[at], 0) {
            Some(found) => {
                let op = ops::find(ops::INTERNAL_DOMAIN, "BlockedGlobalAveragePool", 1)?;
                self.replace(graph, at, op, vec![Some(found.value)], found.channels)
            }
            None => Ok(false),
        }
    }

    /// Whether a mean is one over all places of an image.
    fn is_global(&self, graph: &Graph, at: usize) -> bool {
        let node = &graph.nodes[at];
        let keeps = !matches!(node.attribute("keepdims"), Some(Attribute::Int(0)));
        let axes = match node.attribute("axes") {
            Some(Attribute::Ints(axes)) => Some(axes.clone()),
            _ => constant_input(&self.known, node, 1)
                .and_then(|axes| axes.elements::<i64>().ok())
                .map(<[i64]>::to_vec),
        };
        keeps && matches!(axes.as_deref(), Some([2 | -2, 3 | -1] | [3 | -1, 2 | -2]))
    }

    fn native(&self, node: &Node, input: usize) -> Option<Blocked> {
        let found = self.blocked.get(&node.inputs.get(input).copied().flatten()?)?;
        found.is_native.then_some(*found)
    }

    /// Images one behind the other, where each begins a block.
    fn concat(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        let node = &graph.nodes[at];
        let parts = node.inputs.iter().map(|id| self.blocked.get(&(*id)?).copied());
        let Some(parts) = parts.collect::<Option<Vec<_>>>() else { return Ok(false) };
        let is_channels = matches!(node.attribute("axis"), Some(Attribute::Int(1 | -3)));
        let Some((_, ahead)) = parts.split_last() else { return Ok(false) };
        let are_whole = ahead.iter().all(|part| part.channels.is_multiple_of(BLOCK_LEN));
        if !is_channels || !are_whole || !parts.iter().any(|part| part.is_native) {
            return Ok(false);
        }
        let op = node.op;
        let inputs = parts.iter().map(|part| Some(part.value)).collect();
        let channels = parts.iter().map(|part| part.channels).sum();
        set(&mut graph.nodes[at], "axis", Attribute::Int(1));
        self.replace(graph, at, op, inputs, channels)
    }

    /// Resizing by scales, which are those of height and width alone.
    fn resize(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        let node = &graph.nodes[at];
        let Some(found) = self.native(node, 0) else { return Ok(false) };
        let scales = constant_input(&self.known, node, if node.opset == 10 { 1 } else { 2 });
        let scales = scales.and_then(|scales| scales.elements::<f32>().ok());
        let Some(&[one, also, y, x]) = scales else { return Ok(false) };
        let has_more = node.inputs.len() > 3 || node.attribute("axes").is_some();
        let is_crop = matches!(node.attribute("coordinate_transformation_mode"),
            Some(Attribute::String(mode)) if mode == "tf_crop_and_resize");
        if one != 1.0 || also != 1.0 || has_more || is_crop || node.opset < 11 {
            return Ok(false);
        }
        let op = node.op;
        let name = format!("{}/scales", graph.node_name(node));
        let scales = graph.add_constant(name, Tensor::vector(vec![1.0, 1.0, y, x, 1.0]));
        self.replace(graph, at, op, vec![Some(found.value), None, Some(scales)], found.channels)
    }

    /// Parts of an image, where each begins a block.
    fn split(&mut self, graph: &mut Graph, at: usize) -> Result<bool> {
        let node = &graph.nodes[at];
        if !is(node, "Split") || node.outputs.iter().any(Option::is_none) {
            return Ok(false);
        }
        let Some(found) = self.native(node, 0) else { return Ok(false) };
        let is_channels = matches!(node.attribute("axis"), Some(Attribute::Int(1 | -3)));
        let lens = match (node.attribute("split"), node.inputs.get(1).copied().flatten()) {
            (Some(Attribute::Ints(lens)), _) => Some(lens.clone()),
            (_, Some(id)) => self
                .known
                .get(&id)
                .and_then(|lens| lens.elements::<i64>().ok())
                .map(<[i64]>::to_vec),
            _ => None,
        };
        let Some(lens) = lens.filter(|lens| is_channels && lens.len() == node.outputs.len()) else {
            return Ok(false);
        };
        let block = BLOCK_LEN as i64;
        if lens.iter().any(|len| *len <= 0 || len % block != 0)
            || lens.iter().sum::<i64>() != found.channels as i64
        {
            return Ok(false);
        }
        let blocks: Vec<i64> = lens.iter().map(|len| len / block).collect();
        set(&mut graph.nodes[at], "axis", Attribute::Int(1));
        if graph.nodes[at].attribute("split").is_some() {
            set(&mut graph.nodes[at], "split", Attribute::Ints(blocks));
        } else {
            let name = format!("{}/blocks", graph.node_name(&graph.nodes[at]));
            graph.nodes[at].inputs[1] = Some(graph.add_constant(name, Tensor::vector(blocks)));
        }
        graph.nodes[at].inputs[0] = Some(found.value);
        for (part, len) in lens.into_iter().enumerate() {
            let plain = graph.nodes[at].outputs[part].expect("all are there");
            let channels = len as usize;
            let value = add_unblock(graph, plain, channels)?;
            graph.nodes[at].outputs[part] = Some(value);
            self.blocked.insert(plain, Blocked { value, channels, is_native: true });
        }
        self.count += 1;
        Ok(false)
    }
}

/// Operations on each element that make finite numbers of finite ones, for a number
/// that is none would come out of what fills up a block.
const UNARY: [&str; 14] = [
    "Abs",
    "Clip",
    "Elu",
    "Erf",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Sigmoid",
    "Softplus",
    "Tanh",
];

/// The same of two elements; what is divided by must be one number.
const BINARY: [&str; 6] = ["Add", "Div", "Max", "Min", "Mul", "Sub"];

/// Whether a node is an operation that passes make.
fn is_internal(node: &Node, name: &str) -> bool {
    node.op.domain == ops::INTERNAL_DOMAIN && node.op.name == name
}

fn set(node: &mut Node, name: &str, attribute: Attribute) {
    node.attributes.retain(|(own, _)| own != name);
    node.attributes.push((name.to_owned(), attribute));
}

/// Removes ways in and out of blocks that nothing reads; one may wait for another.
fn remove_unread(graph: &mut Graph) {
    loop {
        let uses = Uses::of(graph);
        let is_read =
            |id: &ValueId| !uses.readers[id.index()].is_empty() || uses.is_output[id.index()];
        let is_way = |node: &Node| is_internal(node, "Block") || is_internal(node, "Unblock");
        let is_gone: Vec<bool> = graph
            .nodes
            .iter()
            .map(|node| is_way(node) && !node.outputs.iter().flatten().any(is_read))
            .collect();
        if !is_gone.contains(&true) {
            return;
        }
        remove_nodes(graph, &is_gone);
    }
}
