//! Attention, which models before opset 23 spell out.
//!
//! ```text
//! MatMul(q, kᵀ) -> Mul or Div by a number -> Add of a mask -> Softmax -> MatMul with v
//! ```
//!
//! Factors may also be on queries and keys, and the mask may be missing. What is found has
//! four dimensions; batch and heads of all operands have to be provably the same, and the
//! mask's dimensions 1 or those of the scores, since products and sums broadcast further than
//! `Attention` does.

use std::collections::HashMap;

use super::{Uses, constants, is, only_output, remove_nodes};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::infer::{self, Expr, TensorInfo};
use crate::{DType, Result, Tensor, ops};

/// The version of the operation that is made: later ones take a mask of one key for one that
/// knows a single key.
const OPSET: u32 = 23;

/// Replaces the nodes of each attention by one.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn fuse(graph: &mut Graph) -> Result<usize> {
    if !graph.nodes.iter().any(|node| is(node, "Softmax")) {
        return Ok(0);
    }
    // What types contradict each other fails when it runs, with its place.
    let Ok(infos) = infer::types(graph, &[]) else { return Ok(0) };
    let known = constants(graph);
    let uses = Uses::of(graph);
    let chain = Chain { graph, uses: &uses, known: &known, infos: &infos };
    let softmaxes = (0..graph.nodes.len()).filter(|&at| is(&graph.nodes[at], "Softmax"));
    let found: Vec<Found> = softmaxes.filter_map(|at| chain.around(at)).collect();
    let mut is_gone = vec![false; graph.nodes.len()];
    for found in &found {
        found.nodes.iter().for_each(|&at| is_gone[at] = true);
        let key = keys(graph, found)?;
        let node = &mut graph.nodes[found.last];
        node.op = ops::find("", "Attention", OPSET)?;
        node.opset = OPSET;
        node.inputs = vec![Some(found.query), Some(key), Some(found.value)];
        node.inputs.extend(found.mask.map(Some));
        node.attributes = vec![("scale".to_owned(), Attribute::Float(found.scale))];
    }
    is_gone.resize(graph.nodes.len(), false);
    remove_nodes(graph, &is_gone);
    Ok(found.len())
}

/// An attention.
struct Found {
    query: ValueId,
    keys: Keys,
    value: ValueId,
    mask: Option<ValueId>,
    scale: f32,
    /// Nodes that are then not needed, and the last one, which becomes the attention.
    nodes: Vec<usize>,
    last: usize,
}

/// Keys as the product reads them: turned, and perhaps times a number.
struct Keys {
    from: ValueId,
    /// The order of axes that makes `[batch, head, key, element]` of them.
    order: [i64; 4],
    factor: Option<ValueId>,
}

/// The keys with their elements last: new nodes where there are none.
fn keys(graph: &mut Graph, found: &Found) -> Result<ValueId> {
    let Keys { from, order, factor } = found.keys;
    let opset = graph.nodes[found.last].opset;
    let mut add = |name: &'static str, inputs: Vec<Option<ValueId>>, attributes| {
        let output = graph.add_value(format!("{name} for attention {}", graph.values.len()), None);
        let op = ops::find("", name, opset)?;
        let outputs = vec![Some(output)];
        graph.add_node(Node { name: String::new(), op, inputs, outputs, attributes, opset })?;
        Ok::<_, crate::Error>(output)
    };
    let mut key = from;
    if order != [0, 1, 2, 3] {
        let perm = ("perm".to_owned(), Attribute::Ints(order.to_vec()));
        key = add("Transpose", vec![Some(key)], vec![perm])?;
    }
    if let Some(factor) = factor {
        key = add("Mul", vec![Some(key), Some(factor)], Vec::new())?;
    }
    Ok(key)
}

/// What surrounds a softmax.
struct Chain<'g> {
    graph: &'g Graph,
    uses: &'g Uses,
    known: &'g HashMap<ValueId, Tensor>,
    infos: &'g [Option<TensorInfo>],
}

impl Chain<'_> {
    fn around(&self, softmax: usize) -> Option<Found> {
        let node = &self.graph.nodes[softmax];
        let default = if node.opset < 13 { 1 } else { -1 };
        let axis = match node.attribute("axis") {
            Some(&Attribute::Int(axis)) => axis,
            _ => default,
        };
        if axis != -1 && axis != 3 {
            return None;
        }
        let last = self.uses.only_reader(only_output(node)?)?;
        let last_node = &self.graph.nodes[last];
        only_output(last_node)?;
        let value = match (is(last_node, "MatMul"), &last_node.inputs[..]) {
            (true, &[Some(left), Some(right)]) if Some(left) == only_output(node) => right,
            _ => return None,
        };
        let mut nodes = vec![softmax];
        let scores = self.operand(softmax, 0)?;
        let (product, mask, mut scale) = self.product(scores, softmax, &mut nodes)?;
        let query = self.factored(self.operand(product, 0)?, product, &mut scale, &mut nodes);
        let turned = self.factored(self.operand(product, 1)?, product, &mut scale, &mut nodes);
        let keys = self.keys(turned)?;
        let scale = scale as f32;
        let is_fit = scale.is_normal() && self.fits(query, turned, value, mask);
        is_fit.then_some(Found { query, keys, value, mask, scale, nodes, last })
    }

    fn operand(&self, node: usize, index: usize) -> Option<ValueId> {
        self.graph.nodes[node].inputs.get(index).copied().flatten()
    }

    /// The node that makes a value which `reader` alone reads.
    fn own(&self, value: ValueId, reader: usize) -> Option<usize> {
        let producer = self.uses.producer(value)?;
        only_output(&self.graph.nodes[producer])?;
        (self.uses.only_reader(value) == Some(reader)).then_some(producer)
    }

    /// The product that scores are made of, the mask that is added, and their factor.
    fn product(
        &self,
        scores: ValueId,
        reader: usize,
        nodes: &mut Vec<usize>,
    ) -> Option<(usize, Option<ValueId>, f64)> {
        if let Some((product, scale, mut own)) = self.scaled(scores, reader) {
            nodes.append(&mut own);
            return Some((product, None, scale));
        }
        let add = self.own(scores, reader)?;
        if !is(&self.graph.nodes[add], "Add") {
            return None;
        }
        (0..2).find_map(|index| {
            let (product, scale, mut own) = self.scaled(self.operand(add, index)?, add)?;
            nodes.push(add);
            nodes.append(&mut own);
            Some((product, Some(self.operand(add, 1 - index)?), scale))
        })
    }

    /// A product behind factors, what these are together, and the nodes.
    fn scaled(&self, value: ValueId, reader: usize) -> Option<(usize, f64, Vec<usize>)> {
        let (mut scale, mut nodes) = (1.0, Vec::new());
        let scores = self.factored(value, reader, &mut scale, &mut nodes);
        let reader = nodes.last().copied().unwrap_or(reader);
        let product = self.own(scores, reader)?;
        nodes.push(product);
        is(&self.graph.nodes[product], "MatMul").then_some((product, scale, nodes))
    }

    /// What is multiplied or divided by known numbers before `reader` alone reads it.
    fn factored(
        &self,
        value: ValueId,
        reader: usize,
        scale: &mut f64,
        nodes: &mut Vec<usize>,
    ) -> ValueId {
        let (mut value, mut reader) = (value, reader);
        while let Some((at, before, factor)) = self.factor(value, reader) {
            *scale *= factor;
            nodes.push(at);
            (value, reader) = (before, at);
        }
        value
    }

    fn factor(&self, value: ValueId, reader: usize) -> Option<(usize, ValueId, f64)> {
        let at = self.own(value, reader)?;
        let node = &self.graph.nodes[at];
        let (left, right) = (self.operand(at, 0)?, self.operand(at, 1));
        if is(node, "Div") {
            return Some((at, left, 1.0 / self.number(right?)?));
        }
        if !is(node, "Mul") {
            return None;
        }
        match (self.number(left), self.number(right?)) {
            (_, Some(factor)) => Some((at, left, factor)),
            (Some(factor), None) => Some((at, right?, factor)),
            (None, None) => None,
        }
    }

    /// A known number, of which no dimension makes a value larger.
    fn number(&self, value: ValueId) -> Option<f64> {
        let tensor = self.known.get(&value)?;
        if tensor.len() != 1 || tensor.rank() > 4 {
            return None;
        }
        match tensor.dtype() {
            DType::F32 => tensor.elements::<f32>().ok()?.first().map(|&x| f64::from(x)),
            DType::F16 => tensor.elements::<half::f16>().ok()?.first().map(|x| x.to_f64()),
            DType::BF16 => tensor.elements::<half::bf16>().ok()?.first().map(|x| x.to_f64()),
            _ => None,
        }
    }

    /// Where keys that are read turned come from.
    fn keys(&self, turned: ValueId) -> Option<Keys> {
        let producer = self.uses.producer(turned)?;
        let node = &self.graph.nodes[producer];
        if is(node, "Mul") {
            // A factor that a run computes stays one, of keys that are not turned.
            let (left, right) = (self.operand(producer, 0)?, self.operand(producer, 1)?);
            let is_number = |value: ValueId| {
                self.dims(value).is_some_and(|dims| dims.len() <= 4 && dims.iter().all(|d| d.is(1)))
            };
            let (from, factor) = match (is_number(left), is_number(right)) {
                (false, true) => (left, right),
                (true, false) => (right, left),
                _ => return None,
            };
            let keys = self.keys(from).filter(|keys| keys.factor.is_none())?;
            return Some(Keys { factor: Some(factor), ..keys });
        }
        let perm = match (is(node, "Transpose"), node.attribute("perm")) {
            (true, Some(Attribute::Ints(perm))) => <[i64; 4]>::try_from(&perm[..]).ok()?,
            _ => return None,
        };
        let [batch, head, element, key] = perm;
        let order = [batch, head, key, element];
        Some(Keys { from: self.operand(producer, 0)?, order, factor: None })
    }

    fn dims(&self, value: ValueId) -> Option<&[Expr]> {
        self.infos[value.index()].as_ref()?.dims.as_deref()
    }

    /// Whether `Attention` takes these operands and makes the same of them.
    fn fits(&self, query: ValueId, turned: ValueId, value: ValueId, mask: Option<ValueId>) -> bool {
        let dtype = |value: ValueId| self.infos[value.index()].as_ref().map(|info| info.dtype);
        let of = dtype(query);
        let is_float = matches!(of, Some(DType::F32 | DType::F16 | DType::BF16));
        let alike = [Some(turned), Some(value), mask];
        if !is_float || alike.into_iter().flatten().any(|value| dtype(value) != of) {
            return false;
        }
        let (Some([batch, heads, queries, _]), Some([k_batch, k_heads, _, keys])) =
            (self.dims(query), self.dims(turned))
        else {
            return false;
        };
        let is_same = match self.dims(value) {
            Some([v_batch, v_heads, ..]) if self.dims(value).is_some_and(|v| v.len() == 4) => {
                [k_batch, v_batch] == [batch; 2] && [k_heads, v_heads] == [heads; 2]
            }
            _ => false,
        };
        let scores = [batch, heads, queries, keys];
        let mask_fits = |mask: ValueId| {
            let Some(dims) = self.dims(mask) else { return false };
            // A fixed length above 1 is not made larger by any mask that may be added.
            let fits = |(dim, of): (&Expr, &&Expr)| {
                dim.is(1) || dim == *of || of.as_len().is_some_and(|len| len > 1)
            };
            (1..=4).contains(&dims.len()) && dims.iter().rev().zip(scores.iter().rev()).all(fits)
        };
        is_same && mask.is_none_or(mask_fits)
    }
}
