//! Which way a model goes in 16 bits.
//!
//! Convolutional networks become planned steps (see [`super`]). All others, and all on a
//! device without the steps' kernels, go through the kernels that hold for any model: a
//! pass brings the graph to 16 bits where range and precision allow, and a dense session
//! runs it. What decides is the graph alone, so that it can be told without a device.

#[cfg(test)]
mod tests;

use raddle::Device;
use raddle_kernels::dense::Arithmetic;
use raddle_tensor::graph::{Graph, Node, ValueId, ValueType};
use raddle_tensor::infer::{self, Expr, TensorInfo};
use raddle_tensor::{DType, Plan, passes};

use super::dense::DenseSession;
use super::plan::{self, Step, Work, refusal};
use super::{GpuSession, PASSES, Typed};
use crate::{Error, Precision, Result};

/// How a session computes a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Each value in the type that the model gives it, through kernels for any model.
    Dense,
    /// Planned steps for convolutional networks, all in 16 bits.
    Steps,
    /// As [`Dense`](Self::Dense), with nodes in 16 bits where range and precision allow.
    DenseHalf {
        /// Nodes that compute in 16 bits.
        halves: usize,
        /// All nodes, without casts.
        nodes: usize,
        /// Why there are no planned steps.
        why: String,
    },
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dense => f.write_str("kernels for any model"),
            Self::Steps => f.write_str("planned steps for convolutional networks"),
            Self::DenseHalf { halves, nodes, why } => write!(
                f,
                "kernels for any model, {halves} of {nodes} nodes in 16 bits, others in f32 that \
                 is multiplied in tf32; no planned steps: {why}"
            ),
        }
    }
}

impl Route {
    /// The way that a model would go on a GPU of compute capability 9.0.
    ///
    /// ## Errors
    /// [`Error::Graph`] for a graph that is wrong.
    pub fn of(graph: &Graph, precision: Precision) -> Result<Self> {
        match precision {
            Precision::F32 | Precision::TF32 => Ok(Self::Dense),
            Precision::F16 | Precision::BF16 => Ok(Planned::of(graph, precision, None)?.route),
        }
    }
}

/// A graph that is ready for its way.
struct Planned {
    graph: Graph,
    /// None for the dense way.
    steps: Vec<Step>,
    route: Route,
}

/// Passes before the one that brings a graph to 16 bits: some spell out what has a kernel.
const BEFORE: [&str; 5] =
    ["fold-constants", "fold-batch-norm", "skip-identities", "fuse-gelu", "fuse-attention"];

/// Operations that stay in `f32`: their kernels keep channels last and multiply on tensor
/// cores, which round factors to as many digits as `f16` has; for 16 bits there are only
/// general ones.
const KEPT: [&str; 2] = ["Conv", "ConvTranspose"];

/// A session in 16 bits.
pub fn session(graph: &Graph, device: &Device, precision: Precision) -> Result<GpuSession> {
    let has_steps = device.compute_capability().is_none_or(|(major, _)| major == 9);
    let why_not = (!has_steps).then(|| format!("their kernels do not run on {device}"));
    let Planned { graph, steps, route } = Planned::of(graph, precision, why_not)?;
    let weights = match (&route, precision) {
        // Factors of 16 bits are what tensor cores make of f32 for this arithmetic.
        (Route::DenseHalf { .. }, _) => Typed::Dense(DenseSession::new(&graph, Arithmetic::TF32)?),
        (_, Precision::BF16) => Typed::BF16(std::sync::Arc::default()),
        _ => Typed::F16(std::sync::Arc::default()),
    };
    GpuSession::of(graph, device, steps, weights, route)
}

fn run_passes(graph: &mut Graph, names: &[&str]) -> Result<()> {
    for pass in passes::PASSES.iter().filter(|pass| names.contains(&pass.name)) {
        (pass.run)(graph)?;
    }
    Ok(())
}

impl Planned {
    fn of(graph: &Graph, precision: Precision, why_not: Option<String>) -> Result<Self> {
        let why = match why_not {
            Some(why) => why,
            None => {
                let mut graph = graph.clone();
                run_passes(&mut graph, &PASSES)?;
                let order: Vec<_> = Plan::new(graph.clone())?.order().collect();
                let steps = plan::steps(&graph, &order).and_then(|steps| {
                    check(&graph, &steps)?;
                    Ok(steps)
                });
                match steps {
                    Ok(steps) => return Ok(Self { graph, steps, route: Route::Steps }),
                    Err(error @ Error::NotOnGpu { .. }) => error.to_string(),
                    Err(error) => return Err(error),
                }
            }
        };
        let mut graph = graph.clone();
        run_passes(&mut graph, &BEFORE)?;
        let nodes = graph.nodes.len();
        let dtype = if precision == Precision::BF16 { DType::BF16 } else { DType::F16 };
        let halves = passes::to_half(&mut graph, dtype, &KEPT)?;
        run_passes(&mut graph, &["remove-dead"])?;
        Ok(Self { graph, steps: Vec::new(), route: Route::DenseHalf { halves, nodes, why } })
    }
}

/// Refuses what `lower` has no kernels for, as far as that shows without shapes.
fn check(graph: &Graph, steps: &[Step]) -> Result<()> {
    let types = infer::types(graph, &[]).unwrap_or_default();
    let known = Known { graph, types };
    let nodes = || steps.iter().flat_map(|step| &step.nodes).map(|id| &graph.nodes[id.0 as usize]);
    for &id in &graph.inputs {
        if let Some(ValueType::Tensor(DType::F32, _)) | None = graph.values[id.index()].declared {
            continue;
        }
        if let Some(reader) = nodes().find(|node| node.reads().any(|read| read == id)) {
            let why = format!("input {} is not of float", graph.name_of(id));
            return Err(refusal(graph, reader, why));
        }
    }
    for step in steps {
        for id in &step.nodes {
            let node = &graph.nodes[id.0 as usize];
            known.check_rank(node)?;
            if matches!(step.work, Work::Node) {
                known.check_lone(node)?;
            }
        }
    }
    Ok(())
}

/// What is known of a graph's values.
struct Known<'g> {
    graph: &'g Graph,
    types: Vec<Option<TensorInfo>>,
}

impl Known<'_> {
    fn dims(&self, id: Option<ValueId>) -> Option<&[Expr]> {
        self.types.get(id?.index())?.as_ref()?.dims.as_deref()
    }

    /// Steps know images and rows of numbers.
    fn check_rank(&self, node: &Node) -> Result<()> {
        let first = node.inputs.first().copied().flatten();
        match self.dims(first) {
            Some(dims) if !matches!(dims.len(), 2 | 4) => {
                let why = format!("its operand has rank {}, not 2 or 4", dims.len());
                Err(refusal(self.graph, node, why))
            }
            _ => Ok(()),
        }
    }

    /// A node that no convolution takes along.
    fn check_lone(&self, node: &Node) -> Result<()> {
        let refuse = |why: &str| Err(refusal(self.graph, node, why));
        if !node.op.domain.is_empty() {
            return refuse("there is no planned step for it");
        }
        match node.op.name {
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "ReduceMean" | "Identity"
            | "Dropout" => Ok(()),
            "Flatten" | "Reshape" | "Squeeze" => {
                let dims = self.dims(node.inputs.first().copied().flatten()).unwrap_or_default();
                let is_one = |dim: &Expr| dim.number().is_none_or(|len| len == 1);
                if !dims.iter().skip(2).all(is_one) {
                    return refuse("only images of one pixel can be flattened");
                }
                match self.dims(node.outputs.first().copied().flatten()) {
                    Some(dims) if dims.len() != 2 => refuse("only [batch, features] can be made"),
                    _ => Ok(()),
                }
            }
            _ => refuse("there is no planned step for it"),
        }
    }
}
