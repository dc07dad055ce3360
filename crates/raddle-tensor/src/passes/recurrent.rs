//! Recurrent layers with constant weights: those lie in the order in which the
//! products of all steps read them.

use super::{Uses, constant_input, constants};
use crate::graph::{Attribute, Graph};
use crate::ops::{self, recurrent};
use crate::{DType, Result};

/// Replaces `RNN`, `GRU` and `LSTM` with constant weights of `f32`.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn pack(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let uses = Uses::of(graph);
    let mut count = 0;
    for at in 0..graph.nodes.len() {
        let node = &graph.nodes[at];
        let (packed, gates) = match (node.op.domain, node.op.name) {
            ("", "RNN") => ("PackedRNN", 1),
            ("", "GRU") => ("PackedGRU", 3),
            ("", "LSTM") => ("PackedLSTM", 4),
            _ => continue,
        };
        let weights = [1, 2].map(|index| constant_input(&known, node, index));
        let [Some(w), Some(r)] = weights else { continue };
        let (&[_, columns, _], &[_, _, hidden]) = (w.shape(), r.shape()) else { continue };
        // What does not fit together is said when it runs.
        let fits = r.shape() == [w.shape()[0], gates * hidden, hidden]
            && columns == gates * hidden
            && [w, r].iter().all(|it| it.dtype() == DType::F32 && !it.is_empty())
            && node.optional_int("hidden_size")?.is_none_or(|stated| stated == hidden as i64);
        // Somebody else may read the weights as they are: then there would be two of them.
        let is_own =
            |index: usize| node.inputs[index].is_some_and(|id| uses.only_reader(id).is_some());
        if !fits || !is_own(1) || !is_own(2) {
            continue;
        }
        let [w, r] = recurrent::pack(w, r)?;
        let name = graph.node_name(node);
        let w = graph.add_constant(format!("{name}/packed inputs"), w);
        let r = graph.add_constant(format!("{name}/packed recurrence"), r);
        let node = &mut graph.nodes[at];
        node.op = ops::find(ops::INTERNAL_DOMAIN, packed, 1)?;
        node.opset = 1;
        node.inputs[1] = Some(w);
        node.inputs[2] = Some(r);
        node.attributes.retain(|(name, _)| name != "hidden_size");
        node.attributes.push(("hidden_size".into(), Attribute::Int(hidden as i64)));
        count += 1;
    }
    Ok(count)
}
