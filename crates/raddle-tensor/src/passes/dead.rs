//! Removes what nothing needs.

use super::remove_nodes;
use crate::Result;
use crate::graph::Graph;

/// Nodes whose results no output depends on, and constants that nothing reads.
///
/// ## Errors
/// None.
pub fn remove(graph: &mut Graph) -> Result<usize> {
    let mut is_needed = vec![false; graph.values.len()];
    graph.outputs.iter().for_each(|id| is_needed[id.index()] = true);
    let mut is_alive = vec![false; graph.nodes.len()];
    // Nodes may stand in any order, so until nothing changes.
    loop {
        let mut changes = false;
        for (at, node) in graph.nodes.iter().enumerate().rev() {
            let is_read = node.outputs.iter().flatten().any(|id| is_needed[id.index()]);
            if is_read && !is_alive[at] {
                is_alive[at] = true;
                changes = true;
                node.reads().for_each(|id| is_needed[id.index()] = true);
            }
        }
        if !changes {
            break;
        }
    }
    let is_gone: Vec<bool> = is_alive.iter().map(|&alive| !alive).collect();
    remove_nodes(graph, &is_gone);
    let inputs = std::mem::take(&mut graph.inputs);
    graph.constants.retain(|(id, _)| is_needed[id.index()] || inputs.contains(id));
    graph.inputs = inputs;
    Ok(is_gone.into_iter().filter(|&gone| gone).count())
}
