//! Activations behind a convolution, in the forms that models write them in.

use std::collections::HashMap;

use super::{Uses, is, only_output};
use crate::Tensor;
use crate::graph::{Attribute, Graph, Node, ValueId};

/// Most by which a constant may differ from what it stands for.
const TOLERANCE: f32 = 1e-5;

/// An activation that several nodes make.
pub struct SpelledOut {
    /// Its name as an attribute.
    pub name: &'static str,
    /// The nodes.
    pub nodes: Vec<usize>,
    /// The one whose output is the result.
    pub last: usize,
}

/// The activation of a value that several nodes make, if nothing else sees what they
/// compute: `x sigmoid(x)`, and `x min(max(x + 3, 0), 6) / 6` in two forms.
pub fn spelled_out(
    graph: &Graph,
    uses: &Uses,
    known: &HashMap<ValueId, Tensor>,
    value: ValueId,
    is_gone: &[bool],
) -> Option<SpelledOut> {
    let &[first, second] = &uses.readers[value.index()][..] else { return None };
    if uses.is_output[value.index()] || is_gone[first] || is_gone[second] {
        return None;
    }
    let is_product = |at: usize| is(&graph.nodes[at], "Mul");
    let [factor, product] = match (is_product(first), is_product(second)) {
        (false, true) => [first, second],
        (true, false) => [second, first],
        _ => return None,
    };
    let node = &graph.nodes[factor];
    let number = |id: Option<ValueId>| match known.get(&id?)?.elements::<f32>().ok()? {
        &[number] => Some(number),
        _ => None,
    };
    let is_near = |found: Option<f32>, wanted: f32| {
        found.is_some_and(|found| (found - wanted).abs() <= TOLERANCE * wanted.abs())
    };
    let float = |name: &str, default: f32| match node.attribute(name) {
        Some(Attribute::Float(number)) => *number,
        _ => default,
    };
    let only = |at: usize| uses.only_reader(only_output(&graph.nodes[at])?);
    let result = |at: usize| only_output(&graph.nodes[at]);
    result(product)?;
    if is(node, "Sigmoid") && only(factor) == Some(product) {
        return Some(SpelledOut { name: "Silu", nodes: vec![factor, product], last: product });
    }
    let is_hard = is(node, "HardSigmoid")
        && is_near(Some(float("alpha", 0.2)), 1.0 / 6.0)
        && is_near(Some(float("beta", 0.5)), 0.5);
    if is_hard && only(factor) == Some(product) {
        return Some(SpelledOut { name: "HardSwish", nodes: vec![factor, product], last: product });
    }
    let other = |at: usize, not: ValueId| {
        graph.nodes[at].inputs.iter().copied().find(|&id| id != Some(not)).flatten()
    };
    if !is(node, "Add") || !is_near(number(other(factor, value)), 3.0) {
        return None;
    }
    let clip = only(factor)?;
    let bounds = match &of_node(&graph.nodes[clip], result(factor)?, known)?[..] {
        [_, (low, Attribute::Float(a)), (high, Attribute::Float(b))]
            if low == "min" && high == "max" =>
        {
            [*a, *b]
        }
        _ => return None,
    };
    if bounds != [0.0, 6.0] || only(clip) != Some(product) {
        return None;
    }
    let last = only(product)?;
    let scale = number(other(last, result(product)?));
    let divided = graph.nodes[last].inputs.first() == Some(&result(product));
    let is_scaled = match graph.nodes[last].op.name {
        "Div" => divided && is_near(scale, 6.0),
        "Mul" => is_near(scale, 1.0 / 6.0),
        _ => false,
    };
    result(last)?;
    let nodes = vec![factor, clip, product, last];
    is_scaled.then_some(SpelledOut { name: "HardSwish", nodes, last })
}

/// How a node that reads `value` is written as an attribute, if it can be.
pub fn of_node(
    node: &Node,
    value: ValueId,
    known: &HashMap<ValueId, Tensor>,
) -> Option<Vec<(String, Attribute)>> {
    only_output(node)?;
    let named = |name: &str| ("activation".to_owned(), Attribute::String(name.into()));
    if is(node, "Relu") || is(node, "HardSwish") {
        return Some(vec![named(node.op.name)]);
    }
    if is(node, "Gelu") {
        let is_exact = match node.attribute("approximate") {
            Some(Attribute::String(form)) => form == "none",
            attribute => attribute.is_none(),
        };
        return is_exact.then(|| vec![named("Gelu")]);
    }
    if !is(node, "Clip") || node.inputs.first() != Some(&Some(value)) {
        return None;
    }
    let mut attributes = vec![named("Clip")];
    for (index, name) in [(1, "min"), (2, "max")] {
        let bound = match (node.inputs.get(index).copied().flatten(), node.attribute(name)) {
            (Some(id), _) => match known.get(&id)?.elements::<f32>().ok()? {
                &[bound] => bound,
                _ => return None,
            },
            (None, Some(Attribute::Float(bound))) => *bound,
            (None, _) => continue,
        };
        attributes.push((name.to_owned(), Attribute::Float(bound)));
    }
    Some(attributes)
}
