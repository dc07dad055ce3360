//! What a model costs on given lengths of its free dimensions: shapes of all
//! values, floating-point operations of each node. Nothing is run.

use std::collections::HashMap;

use raddle_tensor::graph::{Dim, Graph, ValueId, ValueType};
use raddle_tensor::infer::{self, TensorInfo};
use raddle_tensor::{DType, Error};

use crate::run::FreeDim;

/// Type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    pub dtype: DType,
    pub shape: Vec<usize>,
}

impl Kind {
    /// Number of elements.
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }
}

/// What is known before a run.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Tensors by name, for the lengths in `dims`: inputs, constants and
    /// everything that is computed, where its shape does not depend on data.
    pub kinds: HashMap<String, Kind>,
    /// Types by name with symbols for free dimensions.
    pub symbolic: HashMap<String, String>,
    /// Floating-point operations of the node that makes a value, by the value's name.
    pub flops: HashMap<String, u64>,
    /// Lengths that were taken for free dimensions.
    pub dims: Vec<(String, usize)>,
}

/// Infers types of all values, with symbols and for lengths of them.
///
/// ## Errors
/// [`Error::Node`] for what a node's inputs cannot be.
pub fn measure(graph: &Graph, dims: &[FreeDim]) -> Result<Cost, Error> {
    let mut cost = Cost::default();
    for (id, info) in infer::types(graph, &[])?.iter().enumerate() {
        let Some(info) = info else { continue };
        cost.symbolic.insert(graph.values[id].name.clone(), describe(info));
    }
    let given = lens(graph, dims, &mut cost.dims);
    let infos = infer::types(graph, &given)?;
    for (id, info) in infos.iter().enumerate() {
        let Some((info, shape)) = info.as_ref().and_then(|info| Some((info, info.shape()?))) else {
            continue;
        };
        cost.kinds.insert(graph.values[id].name.clone(), Kind { dtype: info.dtype, shape });
    }
    for node in &graph.nodes {
        let kinds = |ids: &[Option<ValueId>]| -> Vec<Option<Kind>> {
            let kind = |id| cost.kinds.get(graph.name_of(id)).cloned();
            ids.iter().map(|id| id.and_then(kind)).collect()
        };
        let count = flops(node.op.name, &kinds(&node.inputs), &kinds(&node.outputs));
        for id in node.outputs.iter().flatten() {
            cost.flops.insert(graph.name_of(*id).to_owned(), count);
        }
    }
    Ok(cost)
}

/// `float[n, 64, 2*h]`; an open length is `?`.
pub fn describe(info: &TensorInfo) -> String {
    match &info.dims {
        Some(dims) => {
            let dims: Vec<String> = dims.iter().map(ToString::to_string).collect();
            format!("{}[{}]", info.dtype, dims.join(", "))
        }
        None => format!("{} of any shape", info.dtype),
    }
}

/// Types of inputs with a length for each free dimension, 1 if none is asked for.
pub fn lens(
    graph: &Graph,
    dims: &[FreeDim],
    taken: &mut Vec<(String, usize)>,
) -> Vec<(ValueId, TensorInfo)> {
    let mut given = Vec::new();
    for id in crate::run::required(graph) {
        let declared = graph.values[id.index()].declared.as_ref();
        let Some(ValueType::Tensor(dtype, Some(shape))) = declared else { continue };
        let mut len = |dim: &Dim| {
            let symbol = match dim {
                Dim::Fixed(len) => return *len,
                Dim::Symbol(symbol) => symbol.as_str(),
                Dim::Unknown => "?",
            };
            let len = dims.iter().find(|dim| dim.name == symbol).map_or(1, |dim| dim.len);
            if !taken.iter().any(|(name, _)| name == symbol) {
                taken.push((symbol.to_owned(), len));
            }
            len
        };
        let lens: Vec<usize> = shape.iter().map(&mut len).collect();
        given.push((id, TensorInfo::fixed(*dtype, &lens)));
    }
    given
}

/// Floating-point operations of a node: two for each multiplication with its
/// addition, one for each element that other arithmetic makes or, where it
/// reduces, reads. Moving data counts nothing.
fn flops(op: &str, inputs: &[Option<Kind>], outputs: &[Option<Kind>]) -> u64 {
    let input = |at: usize| inputs.get(at).cloned().flatten();
    let len = |at: usize| input(at).map_or(0, |kind| kind.len());
    let Some(out) = outputs.iter().flatten().next() else { return 0 };
    let filter = || input(1).map_or(0, |w| w.shape.iter().skip(1).map(|&d| d as u64).product());
    match op {
        "Conv" | "ConvInteger" => 2 * out.len() * filter(),
        "QLinearConv" => {
            let taps = |w: Kind| w.shape.iter().skip(1).map(|&dim| dim as u64).product::<u64>();
            2 * out.len() * input(3).map_or(0, taps)
        }
        "ConvTranspose" => 2 * len(0) * filter(),
        // The shared dimension is what a row of the result takes of the left side.
        "Gemm" => 2 * out.len() * len(0) / (out.shape.first().copied().unwrap_or(1) as u64).max(1),
        "MatMul" | "MatMulInteger" => {
            2 * out.len() * input(0).and_then(|a| a.shape.last().copied()).unwrap_or(0) as u64
        }
        "QLinearMatMul" => {
            2 * out.len() * input(0).and_then(|a| a.shape.last().copied()).unwrap_or(0) as u64
        }
        "LSTM" | "GRU" | "RNN" => {
            let steps = input(0).map_or(0, |x| x.shape.iter().take(2).product::<usize>() as u64);
            2 * steps * (len(1) + len(2))
        }
        "Reshape" | "Transpose" | "Concat" | "Slice" | "Gather" | "GatherElements" | "GatherND"
        | "Cast" | "Identity" | "Flatten" | "Squeeze" | "Unsqueeze" | "Shape" | "Size"
        | "Constant" | "ConstantOfShape" | "Expand" | "Split" | "Pad" | "Tile" | "DepthToSpace"
        | "SpaceToDepth" | "Dropout" | "ScatterND" | "ScatterElements" | "Range" => 0,
        "BatchNormalization" => 2 * out.len(),
        _ if op.contains("Pool") || op.starts_with("Reduce") => len(0),
        _ => out.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_counted_by_their_products() {
        let kind = |shape: &[usize]| Some(Kind { dtype: DType::F32, shape: shape.to_vec() });
        // 64 filters of 3x7x7 at 112x112 places.
        let conv = [kind(&[1, 3, 224, 224]), kind(&[64, 3, 7, 7])];
        assert_eq!(flops("Conv", &conv, &[kind(&[1, 64, 112, 112])]), 236_027_904);
        let gemm = [kind(&[2, 5]), kind(&[5, 3])];
        assert_eq!(flops("Gemm", &gemm, &[kind(&[2, 3])]), 2 * 2 * 3 * 5);
        let batch = [kind(&[4, 2, 5]), kind(&[4, 5, 3])];
        assert_eq!(flops("MatMul", &batch, &[kind(&[4, 2, 3])]), 2 * 4 * 2 * 3 * 5);
        assert_eq!(flops("Relu", &[kind(&[7])], &[kind(&[7])]), 7);
        assert_eq!(flops("Reshape", &[kind(&[7])], &[kind(&[7, 1])]), 0);
    }
}
