//! Convolutions of images with constant weights: weights packed for the inner
//! loop, and what follows done while the result is still in registers.

use std::ops::RangeInclusive;

use super::{Uses, constant_input, constants, is, only_output, remove_nodes};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::infer::TensorInfo;
use crate::product::{self, winograd};
use crate::{DType, Result, Tensor, infer, ops};

/// Attributes that a convolution and its packed form share.
const SHARED: [&str; 5] = ["auto_pad", "dilations", "group", "pads", "strides"];

/// Replaces `Conv`, `Conv + Add`, and either of them with `Relu`, `Clip`, or
/// `Sigmoid` and `Mul`.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn pack(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let uses = Uses::of(graph);
    // What is wrong with a graph is said when it runs; here it only leaves sizes open.
    let types = infer::types(graph, &[]).unwrap_or_default();
    let mut is_gone = vec![false; graph.nodes.len()];
    let mut count = 0;
    for at in 0..graph.nodes.len() {
        let conv = &graph.nodes[at];
        let weights = constant_input(&known, conv, 1);
        let weights = weights.filter(|w| w.dtype() == DType::F32 && w.rank() == 4 && !w.is_empty());
        let (true, Some(weights), Some(output)) = (is(conv, "Conv"), weights, only_output(conv))
        else {
            continue;
        };
        let has_bias = conv.inputs.get(2).is_some_and(Option::is_some);
        if has_bias && constant_input(&known, conv, 2).is_none() {
            continue;
        }
        let mut node = packed_node(conv, weights)?;
        let positions = types.get(output.index()).and_then(Option::as_ref).and_then(positions);
        let packed = if is_winograd(conv, weights, positions) {
            node.attributes.push(("form".into(), Attribute::String("winograd".into())));
            let [outputs, channels] = [weights.shape()[0], weights.shape()[1]];
            let packed = winograd::pack(weights.elements::<f32>()?, outputs, channels);
            Tensor::new(&[packed.len()], packed)?
        } else {
            let Some(packed) = packed_weights(conv, weights)? else { continue };
            packed
        };
        let mut last = output;
        if let Some((reader, addend)) = addition(graph, &uses, last, &is_gone) {
            node.inputs.push(Some(addend));
            last = only_output(&graph.nodes[reader]).expect("additions have one output");
            is_gone[reader] = true;
        }
        if let Some([sigmoid, product]) = silu(graph, &uses, last, &is_gone) {
            node.attributes.push(("activation".into(), Attribute::String("Silu".into())));
            last = only_output(&graph.nodes[product]).expect("products have one output");
            is_gone[sigmoid] = true;
            is_gone[product] = true;
        }
        let activation = uses.only_reader(last).filter(|&reader| !is_gone[reader]);
        let activation = activation.filter(|_| node.attribute("activation").is_none());
        if let Some(reader) = activation
            && let Some(attributes) = activation_of(&graph.nodes[reader], last, &known)
        {
            node.attributes.extend(attributes);
            last = only_output(&graph.nodes[reader]).expect("activations have one output");
            is_gone[reader] = true;
        }
        let name = format!("{}/packed", graph.name_of(output));
        node.inputs[1] = Some(graph.add_constant(name, packed));
        node.outputs = vec![Some(last)];
        node.op.check(&node).map_err(|source| graph.at(&node, source))?;
        graph.nodes[at] = node;
        count += 1;
    }
    remove_nodes(graph, &is_gone);
    Ok(count)
}

/// Positions of the result of a convolution, as far as they are known.
fn positions(info: &TensorInfo) -> Option<usize> {
    let [_, _, height, width] = &info.dims.as_ref()?[..] else { return None };
    Some(height.as_len()? * width.as_len()?)
}

/// Whether a convolution gains by Winograd's form: enough channels for the work of
/// the transformations, and enough positions to be worth reading four times the
/// weights, unless those are few.
fn is_winograd(conv: &Node, weights: &Tensor, positions: Option<usize>) -> bool {
    let are_ones = |name: &str| match conv.attribute(name) {
        Some(Attribute::Ints(list)) => list.iter().all(|&x| x == 1),
        attribute => attribute.is_none(),
    };
    let is_whole = matches!(conv.attribute("group"), None | Some(Attribute::Int(1)));
    let [outputs, channels, 3, 3] = *weights.shape() else { return false };
    let is_worth = positions.is_none_or(|positions| positions >= WINOGRAD_POSITIONS_MIN)
        || outputs * channels <= WINOGRAD_WEIGHTS_FEW;
    let range = WINOGRAD_CHANNELS;
    is_worth
        && range.contains(&outputs)
        && range.contains(&channels)
        && is_whole
        && are_ones("strides")
        && are_ones("dilations")
}

/// Channels that Winograd's form is good for.
const WINOGRAD_CHANNELS: RangeInclusive<usize> = 16..=256;

/// Fewest positions that it is good for.
const WINOGRAD_POSITIONS_MIN: usize = 128;

/// Pairs of channels whose weights stay in a cache from run to run.
const WINOGRAD_WEIGHTS_FEW: usize = 64 * 64;

/// The weights of all groups, packed; those of a depthwise convolution as they are.
fn packed_weights(conv: &Node, weights: &Tensor) -> Result<Option<Tensor>> {
    let outputs = weights.shape()[0];
    let groups = match conv.attribute("group") {
        Some(Attribute::Int(groups)) => usize::try_from(*groups).unwrap_or(0),
        _ => 1,
    };
    if groups == 0 || !outputs.is_multiple_of(groups) {
        return Ok(None);
    }
    let (rows, depth) = (outputs / groups, weights.len() / outputs);
    let elements = weights.elements::<f32>()?;
    if rows == 1 && weights.shape()[1] == 1 {
        return Tensor::new(&[weights.len()], elements.to_vec()).map(Some);
    }
    let packed: Vec<f32> =
        elements.chunks(rows * depth).flat_map(|group| product::pack(group, rows, depth)).collect();
    Tensor::new(&[packed.len()], packed).map(Some)
}

/// The packed form of a node, still without its weights and outputs.
fn packed_node(conv: &Node, weights: &Tensor) -> Result<Node> {
    let shared = conv.attributes.iter().filter(|(name, _)| SHARED.contains(&name.as_str()));
    let mut attributes: Vec<_> = shared.cloned().collect();
    let kernel = weights.shape()[2..].iter().map(|&len| len as i64).collect();
    attributes.push(("kernel_shape".into(), Attribute::Ints(kernel)));
    attributes.push(("outputs".into(), Attribute::Int(weights.shape()[0] as i64)));
    let mut inputs = conv.inputs.clone();
    inputs.resize(3, None);
    Ok(Node {
        name: conv.name.clone(),
        op: ops::find(ops::INTERNAL_DOMAIN, "PackedConv", 1)?,
        inputs,
        outputs: Vec::new(),
        attributes,
        opset: 1,
    })
}

/// The addition that is the only reader of a value, and what is added. The
/// operation itself finds out whether shapes are equal.
pub fn addition(
    graph: &Graph,
    uses: &Uses,
    value: ValueId,
    is_gone: &[bool],
) -> Option<(usize, ValueId)> {
    let reader = uses.only_reader(value).filter(|&reader| !is_gone[reader])?;
    let node = &graph.nodes[reader];
    if !is(node, "Add") {
        return None;
    }
    only_output(node)?;
    let addend = node.inputs.iter().flatten().copied().find(|&id| id != value)?;
    Some((reader, addend))
}

/// The two nodes that make `x sigmoid(x)` of a value, if nothing else sees it.
fn silu(graph: &Graph, uses: &Uses, value: ValueId, is_gone: &[bool]) -> Option<[usize; 2]> {
    let &[first, second] = &uses.readers[value.index()][..] else { return None };
    if uses.is_output[value.index()] || is_gone[first] || is_gone[second] {
        return None;
    }
    let is_sigmoid = |at: usize| is(&graph.nodes[at], "Sigmoid");
    let [sigmoid, product] = match (is_sigmoid(first), is_sigmoid(second)) {
        (true, false) => [first, second],
        (false, true) => [second, first],
        _ => return None,
    };
    let factor = only_output(&graph.nodes[sigmoid])?;
    let node = &graph.nodes[product];
    let fits = is(node, "Mul") && node.inputs.contains(&Some(factor));
    only_output(node)?;
    (fits && uses.only_reader(factor) == Some(product)).then_some([sigmoid, product])
}

/// How a node that reads `value` is written as an attribute, if it can be.
fn activation_of(
    node: &Node,
    value: ValueId,
    known: &std::collections::HashMap<ValueId, Tensor>,
) -> Option<Vec<(String, Attribute)>> {
    only_output(node)?;
    let named = |name: &str| ("activation".to_owned(), Attribute::String(name.into()));
    if is(node, "Relu") {
        return Some(vec![named("Relu")]);
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
