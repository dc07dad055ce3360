//! Constants stored the way round that they are read.

use super::{constant_input, constants, is};
use crate::Result;
use crate::graph::{Attribute, Graph};
use crate::movement::transpose;

/// `Gemm` with a transposed constant matrix.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn transpose_weights(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let mut count = 0;
    for at in 0..graph.nodes.len() {
        let node = &graph.nodes[at];
        let is_turned = matches!(node.attribute("transB"), Some(Attribute::Int(1)));
        let matrix = constant_input(&known, node, 1).filter(|matrix| matrix.rank() == 2);
        let (true, true, Some(matrix)) = (is(node, "Gemm"), is_turned, matrix) else { continue };
        let name = format!("{}/transposed", graph.node_name(node));
        let turned = graph.add_constant(name, transpose(matrix, &[1, 0])?);
        let node = &mut graph.nodes[at];
        node.inputs[1] = Some(turned);
        node.attributes.retain(|(name, _)| name != "transB");
        count += 1;
    }
    Ok(count)
}
