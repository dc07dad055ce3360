//! `Identity` changes nothing, but hides a neighbour from other passes.

use std::collections::{HashMap, HashSet};

use super::{is, only_output, remove_nodes};
use crate::Result;
use crate::graph::{Graph, Node, ValueId};

/// Lets readers of an `Identity` read what it reads. One whose result is that of the
/// graph, or is read in a body, stays.
///
/// ## Errors
/// None.
pub fn skip(graph: &mut Graph) -> Result<usize> {
    let captures = graph.nodes.iter().flat_map(Node::subgraphs).flat_map(|body| &body.captures);
    let seen: HashSet<ValueId> =
        captures.map(|capture| capture.outer).chain(graph.outputs.iter().copied()).collect();
    let mut source: HashMap<ValueId, ValueId> = HashMap::new();
    let mut is_gone = vec![false; graph.nodes.len()];
    for (node, is_gone) in graph.nodes.iter().zip(&mut is_gone) {
        let (Some(output), Some(&Some(input))) = (only_output(node), node.inputs.first()) else {
            continue;
        };
        if is(node, "Identity") && !seen.contains(&output) {
            source.insert(output, input);
            *is_gone = true;
        }
    }
    for input in graph.nodes.iter_mut().flat_map(|node| &mut node.inputs).flatten() {
        // There may be several in a row; a cycle of them alone is no graph that runs.
        for _ in 0..source.len() {
            let Some(&before) = source.get(input) else { break };
            *input = before;
        }
    }
    remove_nodes(graph, &is_gone);
    Ok(source.len())
}
