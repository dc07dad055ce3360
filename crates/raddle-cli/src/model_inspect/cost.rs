//! What a model costs on given lengths of its free dimensions: shapes of all
//! values, floating-point operations of each node, memory over time.

use std::collections::HashMap;

use raddle_onnx::Model;
use raddle_tensor::graph::{Dim, Graph, Node, ValueType};
use raddle_tensor::{DType, Error, Plan, Tensor, Value};

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

    /// Bytes of the elements; text counts as none.
    pub fn bytes(&self) -> u64 {
        self.len() * self.dtype.bits().div_ceil(8) as u64
    }
}

/// What a run showed.
#[derive(Debug, Clone, Default)]
pub struct Cost {
    /// Tensors by name: inputs, constants and everything that is computed.
    pub kinds: HashMap<String, Kind>,
    /// Floating-point operations of the node that makes a value, by the value's name.
    pub flops: HashMap<String, u64>,
    /// Lengths that were taken for free dimensions.
    pub dims: Vec<(String, usize)>,
}

/// Runs a model on zeros and keeps every value.
///
/// ## Errors
/// [`Error::Invalid`] if an input's type is open; whatever a node says about zeros.
pub fn measure(model: &Model, dims: &[FreeDim]) -> Result<Cost, Error> {
    let mut graph = model.plan().graph().clone();
    let mut cost = Cost::default();
    let inputs = zeros(&graph, dims, &mut cost.dims)?;
    let made = |node: &Node| node.outputs.iter().flatten().copied().collect::<Vec<_>>();
    graph.outputs = graph.nodes.iter().flat_map(made).collect();
    let names = |graph: &Graph| -> Vec<String> {
        graph.outputs.iter().map(|&id| graph.name_of(id).to_owned()).collect()
    };
    let names = names(&graph);
    for (id, tensor) in &graph.constants {
        cost.kinds.insert(graph.name_of(*id).to_owned(), kind(tensor));
    }
    for (name, value) in &inputs {
        if let Value::Tensor(tensor) = value {
            cost.kinds.insert(name.clone(), kind(tensor));
        }
    }
    let plan = Plan::new(graph)?;
    for (name, value) in names.into_iter().zip(plan.run(inputs)?) {
        if let Value::Tensor(tensor) = value {
            cost.kinds.insert(name, kind(&tensor));
        }
    }
    for node in &plan.graph().nodes {
        let kinds = |ids: &[Option<raddle_tensor::graph::ValueId>]| -> Vec<Option<Kind>> {
            let kind = |id| cost.kinds.get(plan.graph().name_of(id)).cloned();
            ids.iter().map(|id| id.and_then(kind)).collect()
        };
        let count = flops(node.op.name, &kinds(&node.inputs), &kinds(&node.outputs));
        for id in node.outputs.iter().flatten() {
            cost.flops.insert(plan.graph().name_of(*id).to_owned(), count);
        }
    }
    Ok(cost)
}

fn kind(tensor: &Tensor) -> Kind {
    Kind { dtype: tensor.dtype(), shape: tensor.shape().to_vec() }
}

/// Zeros for all inputs that have no value of their own.
fn zeros(
    graph: &Graph,
    dims: &[FreeDim],
    taken: &mut Vec<(String, usize)>,
) -> Result<Vec<(String, Value)>, Error> {
    let mut inputs = Vec::new();
    for id in crate::run::required(graph) {
        let name = graph.name_of(id);
        let declared = graph.values[id.index()].declared.as_ref();
        let Some(ValueType::Tensor(dtype, Some(shape))) = declared else {
            return Err(Error::invalid(format!("the shape of input {name} is open")));
        };
        let mut lens = Vec::with_capacity(shape.len());
        for dim in shape {
            let symbol = match dim {
                Dim::Fixed(len) => {
                    lens.push(*len);
                    continue;
                }
                Dim::Symbol(symbol) => symbol.as_str(),
                Dim::Unknown => "?",
            };
            let len = dims.iter().find(|dim| dim.name == symbol).map_or(1, |dim| dim.len);
            lens.push(len);
            if !taken.iter().any(|(name, _)| name == symbol) {
                taken.push((symbol.to_owned(), len));
            }
        }
        inputs.push((name.to_owned(), Value::Tensor(Tensor::zeros(&lens, *dtype)?)));
    }
    Ok(inputs)
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
