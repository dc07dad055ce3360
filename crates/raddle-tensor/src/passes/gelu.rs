//! The activation GELU, which models before opset 20 spell out.

use std::collections::HashMap;

use super::{Uses, constant_input, constants, is, only_output, remove_nodes};
use crate::graph::{Graph, Node, ValueId};
use crate::{Result, Tensor, ops};

/// Most by which a constant may differ from what it stands for.
const TOLERANCE: f32 = 1e-5;

/// Replaces `x / 2 (1 + erf(x / sqrt 2))`, whichever product comes first, by `Gelu`.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn fuse(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let uses = Uses::of(graph);
    let mut is_gone = vec![false; graph.nodes.len()];
    let mut found = Vec::new();
    let chain = Chain { graph, uses: &uses, known: &known };
    for at in (0..graph.nodes.len()).filter(|&at| is(&graph.nodes[at], "Erf")) {
        let Some((input, parts, last)) = chain.around(at) else { continue };
        // The chain's last node becomes the activation.
        parts.into_iter().for_each(|part| is_gone[part] = true);
        found.push((last, input));
    }
    for &(last, input) in &found {
        let node = &mut graph.nodes[last];
        node.op = ops::find("", "Gelu", 20)?;
        node.opset = 20;
        node.inputs = vec![Some(input)];
    }
    remove_nodes(graph, &is_gone);
    Ok(found.len())
}

/// What surrounds an error function.
struct Chain<'g> {
    graph: &'g Graph,
    uses: &'g Uses,
    known: &'g HashMap<ValueId, Tensor>,
}

impl Chain<'_> {
    /// The value that goes in, the nodes that are then not needed, and the last one.
    fn around(&self, erf: usize) -> Option<(ValueId, Vec<usize>, usize)> {
        let scaled = self.graph.nodes[erf].inputs.first().copied().flatten()?;
        let scale = self.uses.producer(scaled)?;
        let scale_node = &self.graph.nodes[scale];
        let input = match is(scale_node, "Div") {
            true if self.is_constant(scale_node, 1, std::f32::consts::SQRT_2) => {
                scale_node.inputs.first().copied().flatten()?
            }
            _ => self.factor_of(scale, std::f32::consts::FRAC_1_SQRT_2)?,
        };
        let sum = self.only_reader(scaled, erf, "Add")?;
        let sum_node = &self.graph.nodes[sum];
        if !(0..2).any(|index| self.is_constant(sum_node, index, 1.0)) {
            return None;
        }
        let product = self.uses.only_reader(only_output(sum_node)?)?;
        let summed = only_output(sum_node)?;
        let other = self.other(product, summed)?;
        let mut parts = vec![scale, erf, sum];
        if let Some(half) = self.uses.producer(other)
            && self.factor_of(half, 0.5) == Some(input)
            && self.uses.only_reader(other) == Some(product)
        {
            parts.push(half);
            return Some((input, parts, product));
        }
        parts.push(product);
        let product_node = &self.graph.nodes[product];
        let last = self.uses.only_reader(only_output(product_node)?)?;
        let is_whole = match other == input {
            true => self.factor_of(last, 0.5) == only_output(product_node),
            false => {
                self.factor_of(product, 0.5) == Some(summed)
                    && self.other(last, only_output(product_node)?) == Some(input)
            }
        };
        is_whole.then_some((input, parts, last))
    }

    /// The node of a name that alone reads what the error function makes; the
    /// function alone must read its own operand.
    fn only_reader(&self, operand: ValueId, erf: usize, name: &str) -> Option<usize> {
        let output = only_output(&self.graph.nodes[erf])?;
        let reader = self.uses.only_reader(output)?;
        let fits = self.uses.only_reader(operand) == Some(erf);
        (fits && is(&self.graph.nodes[reader], name)).then_some(reader)
    }

    /// The other operand of a product with `value`.
    fn other(&self, product: usize, value: ValueId) -> Option<ValueId> {
        let node = &self.graph.nodes[product];
        only_output(node)?;
        match (is(node, "Mul"), &node.inputs[..]) {
            (true, &[Some(left), Some(right)]) if left == value => Some(right),
            (true, &[Some(left), Some(right)]) if right == value => Some(left),
            _ => None,
        }
    }

    /// What a node multiplies by a constant.
    fn factor_of(&self, at: usize, constant: f32) -> Option<ValueId> {
        let node = &self.graph.nodes[at];
        let index = (0..2).find(|&index| self.is_constant(node, index, constant))?;
        let other = node.inputs.get(1 - index).copied().flatten();
        other.filter(|_| is(node, "Mul"))
    }

    /// Whether an input is this number, without dimensions.
    fn is_constant(&self, node: &Node, index: usize, expected: f32) -> bool {
        constant_input(self.known, node, index)
            .filter(|tensor| tensor.rank() == 0)
            .and_then(|tensor| tensor.elements::<f32>().ok()?.first().copied())
            .is_some_and(|found| (found - expected).abs() <= TOLERANCE)
    }
}
