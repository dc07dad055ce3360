//! Computes ahead what is known when the graph is made.

use super::{Uses, constant_input, constants, is, only_output, remove_nodes};
use crate::convert::Compute;
use crate::exec::evaluate;
use crate::graph::{Attribute, Graph};
use crate::{Result, Tensor, Value};

/// Largest result that is computed ahead; larger ones are cheaper to make anew
/// than to keep.
const FOLDED_LEN_MAX: usize = 1 << 24;

/// Replaces nodes whose operands are all constants by their results. A node
/// that fails stays, so that the error comes at its place in a run.
///
/// ## Errors
/// None.
pub fn fold_constants(graph: &mut Graph) -> Result<usize> {
    let mut known = constants(graph);
    let mut is_gone = vec![false; graph.nodes.len()];
    // Nodes may stand in any order, so until nothing changes.
    loop {
        let mut changes = false;
        for (at, node) in graph.nodes.iter().enumerate() {
            let is_fixed = node.op.is_pure
                && node.subgraphs().next().is_none()
                && node.inputs.iter().flatten().all(|id| known.contains_key(id));
            if is_gone[at] || !is_fixed {
                continue;
            }
            let inputs =
                node.inputs.iter().map(|id| Some(Value::Tensor(known[id.as_ref()?].clone())));
            let Ok(results) = evaluate(node, inputs.collect()) else { continue };
            let tensors: Option<Vec<Tensor>> =
                results.into_iter().map(Value::into_tensor).collect();
            let Some(tensors) = tensors else { continue };
            if tensors.iter().any(|tensor| tensor.len() > FOLDED_LEN_MAX) {
                continue;
            }
            for (id, tensor) in node.outputs.iter().zip(tensors) {
                if let Some(id) = id {
                    known.insert(*id, tensor.clone());
                    graph.constants.push((*id, tensor));
                }
            }
            is_gone[at] = true;
            changes = true;
        }
        if !changes {
            break;
        }
    }
    remove_nodes(graph, &is_gone);
    Ok(is_gone.into_iter().filter(|&gone| gone).count())
}

/// `factor (w * x + b - mean) + bias`, where `factor = scale / sqrt(variance +
/// epsilon)`, is a convolution with weights `factor w`.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn fold_batch_norm(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let uses = Uses::of(graph);
    let mut is_gone = vec![false; graph.nodes.len()];
    for (at, is_gone) in is_gone.iter_mut().enumerate() {
        let norm = &graph.nodes[at];
        let is_training = matches!(norm.attribute("training_mode"), Some(Attribute::Int(1)));
        if !is(norm, "BatchNormalization") || is_training {
            continue;
        }
        let (Some(output), Some(&Some(source))) = (only_output(norm), norm.inputs.first()) else {
            continue;
        };
        let Some(conv_at) = uses.producer(source).filter(|_| uses.only_reader(source) == Some(at))
        else {
            continue;
        };
        let conv = &graph.nodes[conv_at];
        if !is(conv, "Conv") {
            continue;
        }
        let parameters: Option<Vec<Vec<f64>>> = (1..5)
            .map(|index| Some(f64::widen(constant_input(&known, norm, index)?).ok()?.into_owned()))
            .collect();
        let (Some(parameters), Some(weights)) = (parameters, constant_input(&known, conv, 1))
        else {
            continue;
        };
        let bias = match conv.inputs.get(2).copied().flatten() {
            Some(id) => known.get(&id).and_then(|bias| f64::widen(bias).ok()),
            None => Some(vec![0.0; weights.shape().first().copied().unwrap_or(0)].into()),
        };
        let (Some(bias), Ok(elements)) = (bias, f64::widen(weights)) else { continue };
        let outputs = bias.len();
        if parameters.iter().any(|list| list.len() != outputs) || outputs == 0 {
            continue;
        }
        let epsilon = match norm.attribute("epsilon") {
            Some(Attribute::Float(epsilon)) => f64::from(*epsilon),
            _ => 1e-5,
        };
        let [scale, shift, mean, variance] = &parameters[..] else {
            unreachable!("four were read")
        };
        let factor: Vec<f64> =
            scale.iter().zip(variance).map(|(scale, v)| scale / (v + epsilon).sqrt()).collect();
        let row_len = elements.len() / outputs;
        let folded = elements.iter().enumerate().map(|(i, w)| w * factor[i / row_len]).collect();
        let weights = Tensor::computed::<f64>(weights.shape(), weights.dtype(), folded)?;
        let offset = (0..outputs).map(|o| (bias[o] - mean[o]) * factor[o] + shift[o]).collect();
        let bias = Tensor::computed::<f64>(&[outputs], weights.dtype(), offset)?;
        let name = graph.name_of(output).to_owned();
        let weights = graph.add_constant(format!("{name}/weights"), weights);
        let bias = graph.add_constant(format!("{name}/bias"), bias);
        let conv = &mut graph.nodes[conv_at];
        conv.inputs.resize(3, None);
        conv.inputs[1..].copy_from_slice(&[Some(weights), Some(bias)]);
        conv.outputs = vec![Some(output)];
        *is_gone = true;
    }
    remove_nodes(graph, &is_gone);
    Ok(is_gone.into_iter().filter(|&gone| gone).count())
}
