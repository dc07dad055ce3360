//! Convolutions of images with constant weights: weights packed for the inner
//! loop, and what follows done while the result is still in registers.

use std::ops::RangeInclusive;

use super::{Uses, activations, blocks, constant_input, constants, is, only_output, remove_nodes};
use crate::blocked::{self, depthwise, direct, winograd};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::infer::TensorInfo;
use crate::product;
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
    for at in 0..is_gone.len() {
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
        let Some(form) =
            Form::of(conv, weights, types.get(output.index()).and_then(Option::as_ref))
        else {
            continue;
        };
        let mut node = packed_node(conv, weights, form)?;
        let outputs = weights.shape()[0];
        let channels = if form == Form::Depthwise { outputs } else { weights.shape()[1] };
        let packed = form.pack(conv, weights)?;
        let bias = constant_input(&known, conv, 2).map(|bias| bias.elements::<f32>());
        let mut bias = bias.transpose()?.map(<[f32]>::to_vec);
        let mut last = output;
        if let Some((reader, addend)) = addition(graph, &uses, last, &is_gone) {
            let type_of = |id: ValueId| types.get(id.index())?.as_ref()?.dims.as_ref();
            let has_shape = type_of(addend).is_some() && type_of(addend) == type_of(output);
            let taken = match known.get(&addend).and_then(|it| for_each_channel(it, outputs)) {
                _ if form == Form::Tiles => {
                    node.inputs.push(Some(addend));
                    true
                }
                Some(numbers) => {
                    let bias = bias.get_or_insert_with(|| vec![0.0; outputs]);
                    bias.iter_mut().zip(numbers).for_each(|(bias, x)| *bias += x);
                    true
                }
                None if has_shape => {
                    node.inputs.push(Some(blocks::add_block(graph, addend, outputs)?));
                    true
                }
                None => false,
            };
            if taken {
                last = only_output(&graph.nodes[reader]).expect("additions have one output");
                is_gone.resize(graph.nodes.len(), false);
                is_gone[reader] = true;
            }
        }
        if let Some(spelled) = activations::spelled_out(graph, &uses, &known, last, &is_gone) {
            let name = Attribute::String(spelled.name.into());
            node.attributes.push(("activation".into(), name));
            last = only_output(&graph.nodes[spelled.last]).expect("products have one output");
            spelled.nodes.iter().for_each(|&node| is_gone[node] = true);
        }
        let activation = uses.only_reader(last).filter(|&reader| !is_gone[reader]);
        let activation = activation.filter(|_| node.attribute("activation").is_none());
        if let Some(reader) = activation
            && let Some(attributes) = activations::of_node(&graph.nodes[reader], last, &known)
        {
            node.attributes.extend(attributes);
            last = only_output(&graph.nodes[reader]).expect("activations have one output");
            is_gone[reader] = true;
        }
        let name = format!("{}/packed", graph.name_of(output));
        node.inputs[1] = Some(graph.add_constant(name, packed));
        if form == Form::Tiles {
            node.outputs = vec![Some(last)];
        } else {
            node.inputs[2] = bias.map(|bias| {
                let bias = Tensor::vector(blocked::pad(&bias));
                graph.add_constant(format!("{}/bias", graph.name_of(output)), bias)
            });
            if form != Form::Planes {
                let image = node.inputs[0].expect("a convolution has an image");
                node.inputs[0] = Some(blocks::add_block(graph, image, channels)?);
            }
            node.outputs = vec![Some(blocks::add_unblock(graph, last, outputs)?)];
        }
        node.op.check(&node).map_err(|source| graph.at(&node, source))?;
        graph.nodes[at] = node;
        count += 1;
    }
    is_gone.resize(graph.nodes.len(), false);
    remove_nodes(graph, &is_gone);
    Ok(count)
}

/// How a convolution is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// In tiles, from and to planes.
    Tiles,
    /// From planes of few channels to blocks.
    Planes,
    /// From blocks to blocks.
    Blocks,
    /// The same with a window for each channel.
    Depthwise,
    /// From blocks to blocks, with fewer multiplications.
    Winograd,
}

impl Form {
    /// The form that is best for a convolution with a result of this type; `None` if
    /// its weights are no weights.
    fn of(conv: &Node, weights: &Tensor, result: Option<&TensorInfo>) -> Option<Self> {
        let &[outputs, inputs, height, width] = weights.shape() else { return None };
        let groups = match conv.attribute("group") {
            Some(Attribute::Int(groups)) => usize::try_from(*groups).unwrap_or(0),
            _ => 1,
        };
        if groups == 0 || !outputs.is_multiple_of(groups) || height * width == 0 {
            return None;
        }
        Some(match (groups, inputs) {
            // Most of a block would be filling.
            _ if outputs < BLOCKED_MIN => Self::Tiles,
            (1, ..BLOCKED_MIN) => Self::Planes,
            (1, _) if is_winograd(conv, weights, result.and_then(positions)) => Self::Winograd,
            (1, _) => Self::Blocks,
            (_, 1) if groups == outputs => Self::Depthwise,
            _ => Self::Tiles,
        })
    }

    /// The weights of all groups, packed; in tiles those of a depthwise convolution
    /// stay as they are.
    fn pack(self, conv: &Node, weights: &Tensor) -> Result<Tensor> {
        let (elements, outputs) = (weights.elements::<f32>()?, weights.shape()[0]);
        let (channels, taps) = (weights.shape()[1], weights.shape()[2] * weights.shape()[3]);
        let packed = match self {
            Self::Tiles => {
                let groups = match conv.attribute("group") {
                    Some(Attribute::Int(groups)) => usize::try_from(*groups).unwrap_or(1),
                    _ => 1,
                };
                let (rows, depth) = (outputs / groups, channels * taps);
                let pack = |group| product::pack(group, rows, depth);
                match (rows, channels) {
                    (1, 1) => elements.to_vec(),
                    _ => elements.chunks(rows * depth).flat_map(pack).collect(),
                }
            }
            Self::Planes => direct::pack(elements, [outputs, channels, taps], true),
            Self::Blocks => direct::pack(elements, [outputs, channels, taps], false),
            Self::Depthwise => depthwise::pack(elements, outputs),
            Self::Winograd => winograd::pack(elements, outputs, channels),
        };
        Tensor::new(&[packed.len()], packed)
    }

    /// Its name as an attribute; in blocks that of the result alone.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Tiles => None,
            Self::Planes | Self::Blocks | Self::Depthwise => Some("blocked"),
            Self::Winograd => Some("winograd"),
        }
    }
}

/// Fewest channels that are worth a block.
const BLOCKED_MIN: usize = 8;

/// One number for each channel, if a constant is added to an image as such.
fn for_each_channel(addend: &Tensor, channels: usize) -> Option<&[f32]> {
    let is_row = matches!(addend.shape(), [len, 1, 1] | [1, len, 1, 1] if *len == channels);
    addend.elements::<f32>().ok().filter(|_| is_row)
}

/// Positions of the result of a convolution, as far as they are known.
fn positions(info: &TensorInfo) -> Option<usize> {
    let [_, _, height, width] = &info.dims.as_ref()?[..] else { return None };
    Some(height.as_len()? * width.as_len()?)
}

/// Whether a convolution of one group gains by Winograd's form: enough channels for
/// the work of the transforms, and enough positions to be worth reading four times
/// the weights, unless those are few.
fn is_winograd(conv: &Node, weights: &Tensor, positions: Option<usize>) -> bool {
    let are_ones = |name: &str| match conv.attribute(name) {
        Some(Attribute::Ints(list)) => list.iter().all(|&x| x == 1),
        attribute => attribute.is_none(),
    };
    let [outputs, channels, 3, 3] = *weights.shape() else { return false };
    let is_worth = positions.is_none_or(|positions| positions >= WINOGRAD_POSITIONS_MIN)
        || outputs * channels <= WINOGRAD_WEIGHTS_FEW;
    let range = WINOGRAD_CHANNELS;
    is_worth
        && range.contains(&outputs)
        && range.contains(&channels)
        && are_ones("strides")
        && are_ones("dilations")
}

/// Channels that Winograd's form is good for.
const WINOGRAD_CHANNELS: RangeInclusive<usize> = 16..=256;

/// Fewest positions that it is good for.
const WINOGRAD_POSITIONS_MIN: usize = 128;

/// Pairs of channels whose weights stay in a cache from run to run.
const WINOGRAD_WEIGHTS_FEW: usize = 64 * 64;

/// The packed form of a node, still without its weights and outputs.
fn packed_node(conv: &Node, weights: &Tensor, form: Form) -> Result<Node> {
    let shared = conv.attributes.iter().filter(|(name, _)| SHARED.contains(&name.as_str()));
    let mut attributes: Vec<_> = shared.cloned().collect();
    let kernel = weights.shape()[2..].iter().map(|&len| len as i64).collect();
    attributes.push(("kernel_shape".into(), Attribute::Ints(kernel)));
    attributes.push(("outputs".into(), Attribute::Int(weights.shape()[0] as i64)));
    if let Some(name) = form.name() {
        let channels = match form {
            Form::Depthwise => weights.shape()[0],
            _ => weights.shape()[1],
        };
        attributes.push(("form".into(), Attribute::String(name.into())));
        attributes.push(("channels".into(), Attribute::Int(channels as i64)));
    }
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
