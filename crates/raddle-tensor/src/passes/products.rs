//! Products with a constant matrix: the matrix lies in the order in which tiles
//! read it, and a constant row that is added to the result is added on the way.

use super::convolutions::addition;
use super::{Uses, constant_input, constants, is, only_output, remove_nodes};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::infer::TensorInfo;
use crate::{DType, Result, Tensor, infer, ops, product};

/// Replaces `MatMul`, `MatMul + Add` and `Gemm` with a constant matrix on the right.
///
/// ## Errors
/// None that a graph from a file can cause.
pub fn pack(graph: &mut Graph) -> Result<usize> {
    let known = constants(graph);
    let uses = Uses::of(graph);
    // What is wrong with a graph is said when it runs; here it only leaves ranks open.
    let types = infer::types(graph, &[]).unwrap_or_default();
    let mut is_gone = vec![false; graph.nodes.len()];
    let mut count = 0;
    for at in 0..graph.nodes.len() {
        let node = &graph.nodes[at];
        let matrix = constant_input(&known, node, 1);
        let matrix = matrix.filter(|it| it.dtype() == DType::F32 && it.rank() == 2);
        let (Some(matrix), Some(output)) = (matrix, only_output(node)) else { continue };
        let [depth, columns] = *matrix.shape() else { continue };
        if depth < LEN_MIN || columns < LEN_MIN {
            continue;
        }
        // Somebody else may read the matrix as it is: then there would be two of it.
        let is_shared = node.inputs[1].is_some_and(|id| uses.only_reader(id).is_none());
        let is_row = |id: &ValueId| known.get(id).is_some_and(|it| row_len(it) == Some(columns));
        let (bias, last) = if is(node, "MatMul") && !is_shared {
            match addition(graph, &uses, output, &is_gone) {
                Some((reader, bias)) if is_row(&bias) => {
                    is_gone[reader] = true;
                    let last = only_output(&graph.nodes[reader]);
                    (Some(bias), last.expect("additions have one output"))
                }
                _ => (None, output),
            }
        } else if is(node, "Gemm") && !is_shared && is_plain(node, &types) {
            match node.inputs.get(2).copied().flatten() {
                Some(bias) if !is_row(&bias) => continue,
                bias => (bias, output),
            }
        } else {
            continue;
        };
        let lines = product::pack_lines(matrix.elements::<f32>()?, columns);
        let length = |name: &str, len: usize| (name.to_owned(), Attribute::Int(len as i64));
        let packed = Node {
            name: node.name.clone(),
            op: ops::find(ops::INTERNAL_DOMAIN, "PackedMatMul", 1)?,
            inputs: vec![node.inputs[0], None, bias],
            outputs: vec![Some(last)],
            attributes: vec![length("depth", depth), length("columns", columns)],
            opset: 1,
        };
        let name = format!("{}/packed", graph.name_of(output));
        let lines = graph.add_constant(name, Tensor::new(&[lines.len()], lines)?);
        graph.nodes[at] = Node { inputs: vec![packed.inputs[0], Some(lines), bias], ..packed };
        count += 1;
    }
    remove_nodes(graph, &is_gone);
    Ok(count)
}

/// Fewest rows and columns of a matrix that are worth tiles.
const LEN_MIN: usize = 16;

/// The length of a row that is added to each row of a matrix.
fn row_len(tensor: &Tensor) -> Option<usize> {
    let is_row = tensor.dtype() == DType::F32 && tensor.rank() == 1;
    is_row.then(|| tensor.len())
}

/// Whether a `Gemm` is a plain product of matrices with a row added.
fn is_plain(node: &Node, types: &[Option<TensorInfo>]) -> bool {
    let is_one = |name: &str| matches!(node.attribute(name), None | Some(Attribute::Float(1.0)));
    let is_not = |name: &str| matches!(node.attribute(name), None | Some(Attribute::Int(0)));
    let info = node.inputs[0].and_then(|id| types.get(id.index())?.as_ref());
    let is_matrix = info.and_then(|info| info.dims.as_ref()).is_some_and(|dims| dims.len() == 2);
    is_one("alpha") && is_one("beta") && is_not("transA") && is_not("transB") && is_matrix
}
