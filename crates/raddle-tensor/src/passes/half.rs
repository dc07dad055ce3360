//! A graph of `f32` that computes in 16 bits: products take their operands in `f16` or
//! `bf16`, and what follows them stays there, as far as range and precision allow.
//! Inputs and outputs keep their types; casts stand where types change.
//!
//! The lists follow those of PyTorch's autocast, with what these kernels do in mind:
//!
//! - [`Rule::Half`]: products of matrices, convolutions, recurrent layers and attention,
//!   whose factors of 16 bits are multiplied exactly and summed in `f32`.
//! - [`Rule::Follow`]: functions that keep the size of numbers, movements, poolings, and
//!   normalisations and softmax, whose kernels compute in `f32` inside. They stay in 16
//!   bits if an operand is.
//! - [`Rule::Widest`]: products and quotients of elements. They need `f32` if an operand
//!   does, which may be a sum of squares, a small divisor or a large factor.
//! - Everything else stays in `f32`: powers, exponentials, logarithms, sums, norms and
//!   running sums leave the range of `f16`; sines of large numbers, comparisons and
//!   orders of nearly equal numbers, losses, random numbers, quantisation, ranges and
//!   sizes need the digits. So do operations of other domains and control flow.
//!
//! A constant that `f16` cannot hold keeps its node in `f32`, unless it only is a limit
//! or a mark for what is masked, where the largest number of `f16` serves as well.

#[cfg(test)]
mod tests;

use crate::convert::{Compute, Overflow};
use crate::graph::{Attribute, Graph, Node, ValueId};
use crate::infer::TensorInfo;
use crate::{DType, Result, Tensor, infer, ops};

/// When an operation computes in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rule {
    /// Always.
    Half,
    /// If an operand is in 16 bits.
    Follow,
    /// If all operands are.
    Widest,
}

/// Operations that can; others stay in `f32`.
const RULES: [(&str, Rule); 69] = [
    ("Attention", Rule::Half),
    ("Conv", Rule::Half),
    ("ConvTranspose", Rule::Half),
    ("Einsum", Rule::Half),
    ("GRU", Rule::Half),
    ("Gemm", Rule::Half),
    ("LSTM", Rule::Half),
    ("MatMul", Rule::Half),
    ("RNN", Rule::Half),
    ("Div", Rule::Widest),
    ("Mul", Rule::Widest),
    ("Abs", Rule::Follow),
    ("Add", Rule::Follow),
    ("AveragePool", Rule::Follow),
    ("BatchNormalization", Rule::Follow),
    ("Ceil", Rule::Follow),
    ("Celu", Rule::Follow),
    ("Clip", Rule::Follow),
    ("Concat", Rule::Follow),
    ("DepthToSpace", Rule::Follow),
    ("Dropout", Rule::Follow),
    ("Elu", Rule::Follow),
    ("Erf", Rule::Follow),
    ("Expand", Rule::Follow),
    ("Flatten", Rule::Follow),
    ("Floor", Rule::Follow),
    ("Gather", Rule::Follow),
    ("GatherElements", Rule::Follow),
    ("GatherND", Rule::Follow),
    ("Gelu", Rule::Follow),
    ("GlobalAveragePool", Rule::Follow),
    ("GlobalMaxPool", Rule::Follow),
    ("GroupNormalization", Rule::Follow),
    ("HardSigmoid", Rule::Follow),
    ("HardSwish", Rule::Follow),
    ("Identity", Rule::Follow),
    ("InstanceNormalization", Rule::Follow),
    ("LayerNormalization", Rule::Follow),
    ("LeakyRelu", Rule::Follow),
    ("LogSoftmax", Rule::Follow),
    ("Max", Rule::Follow),
    ("MaxPool", Rule::Follow),
    ("Min", Rule::Follow),
    ("Mish", Rule::Follow),
    ("Neg", Rule::Follow),
    ("PRelu", Rule::Follow),
    ("Pad", Rule::Follow),
    ("RMSNormalization", Rule::Follow),
    ("ReduceMax", Rule::Follow),
    ("ReduceMean", Rule::Follow),
    ("ReduceMin", Rule::Follow),
    ("Relu", Rule::Follow),
    ("Reshape", Rule::Follow),
    ("Resize", Rule::Follow),
    ("Round", Rule::Follow),
    ("Selu", Rule::Follow),
    ("Sigmoid", Rule::Follow),
    ("Sign", Rule::Follow),
    ("Slice", Rule::Follow),
    ("Softmax", Rule::Follow),
    ("SpaceToDepth", Rule::Follow),
    ("Split", Rule::Follow),
    ("Squeeze", Rule::Follow),
    ("Sub", Rule::Follow),
    ("Tanh", Rule::Follow),
    ("Tile", Rule::Follow),
    ("Transpose", Rule::Follow),
    ("Unsqueeze", Rule::Follow),
    ("Where", Rule::Follow),
];

/// Operations whose constants are limits or marks.
const LIMITED: [&str; 5] = ["Clip", "Max", "Min", "Pad", "Where"];

/// Operands that are `f32` whatever the type of the others is.
fn fixed(op: &str) -> &'static [usize] {
    match op {
        "Resize" => &[1, 2],
        "Dropout" => &[1],
        _ => &[],
    }
}

/// Brings a graph to `f16`.
///
/// ## Errors
/// Those of [`infer::types`].
pub fn to_f16(graph: &mut Graph) -> Result<usize> {
    to_half(graph, DType::F16, &[])
}

/// Brings a graph to `bf16`.
///
/// ## Errors
/// Those of [`infer::types`].
pub fn to_bf16(graph: &mut Graph) -> Result<usize> {
    to_half(graph, DType::BF16, &[])
}

/// Brings a graph to `f16` or `bf16` but for operations that a device is better at in
/// `f32`; returns how many nodes compute in 16 bits then.
///
/// ## Errors
/// Those of [`infer::types`].
pub fn to_half(graph: &mut Graph, dtype: DType, kept: &[&str]) -> Result<usize> {
    let types = infer::types(graph, &[])?;
    let order = graph.order()?;
    let nodes = std::mem::take(&mut graph.nodes);
    let mut forms: Vec<Form> = types.iter().map(|info| Form::of(info.as_ref())).collect();
    for (at, (id, _)) in graph.constants.iter().enumerate() {
        if !graph.inputs.contains(id) {
            forms[id.index()].constant = Some(at);
            forms[id.index()].is_on_host = true;
        }
    }
    let mut rewriting = Rewriting { graph, dtype, kept, forms, count: 0 };
    for at in order {
        rewriting.node(nodes[at].clone())?;
    }
    for id in rewriting.graph.outputs.clone() {
        rewriting.wide(id)?;
    }
    Ok(rewriting.count)
}

/// In which forms a value of the written graph exists.
#[derive(Default)]
struct Form {
    /// Its type, if that is known.
    dtype: Option<DType>,
    /// Its place among the constants.
    constant: Option<usize>,
    /// Whether it is made of constants and shapes only: it has no part in decisions.
    is_on_host: bool,
    /// The value in 16 bits.
    half: Option<ValueId>,
    /// Whether it is made in 16 bits.
    is_half: bool,
    /// Whether a value that is made in 16 bits has been brought back.
    is_widened: bool,
    /// Whether it was kept from 16 bits since numbers in it may be too large.
    is_large: bool,
}

impl Form {
    fn of(info: Option<&TensorInfo>) -> Self {
        Self { dtype: info.map(|info| info.dtype), ..Self::default() }
    }
}

struct Rewriting<'g> {
    graph: &'g mut Graph,
    dtype: DType,
    /// Operations that stay in `f32`.
    kept: &'g [&'g str],
    forms: Vec<Form>,
    count: usize,
}

impl Rewriting<'_> {
    /// Adds a node of the written graph in the form that it is to have.
    fn node(&mut self, mut node: Node) -> Result<()> {
        let is_on_host = matches!(node.op.name, "Shape" | "Size")
            || node.op.is_pure && node.reads().all(|id| self.forms[id.index()].is_on_host);
        for id in node.outputs.iter().flatten() {
            self.forms[id.index()].is_on_host = is_on_host;
        }
        if is_on_host || !self.is_for_half(&node) {
            let is_large = node.reads().any(|id| self.forms[id.index()].is_large);
            for id in node.outputs.iter().flatten() {
                self.forms[id.index()].is_large |= is_large;
            }
            for id in node.reads().collect::<Vec<_>>() {
                self.wide(id)?;
            }
            self.graph.nodes.push(node);
            return Ok(());
        }
        let fixed = fixed(node.op.name);
        for at in 0..node.inputs.len() {
            let Some(id) = node.inputs[at] else { continue };
            if self.forms[id.index()].dtype == Some(DType::F32) && !fixed.contains(&at) {
                node.inputs[at] = Some(self.half(id)?);
            }
        }
        for output in node.outputs.iter_mut().flatten() {
            if self.forms[output.index()].dtype == Some(DType::F32) {
                let half = self.value(*output);
                let form = &mut self.forms[output.index()];
                (form.half, form.is_half) = (Some(half), true);
                *output = half;
            }
        }
        self.graph.nodes.push(node);
        self.count += 1;
        Ok(())
    }

    fn is_for_half(&mut self, node: &Node) -> bool {
        let rule = RULES.iter().find(|(name, _)| *name == node.op.name);
        let is_free = node.op.domain.is_empty() && !self.kept.contains(&node.op.name);
        let Some(&(_, rule)) = rule.filter(|_| is_free) else { return false };
        let form = |id: &ValueId| &self.forms[id.index()];
        let outputs = || node.outputs.iter().flatten();
        let is_known = node.reads().chain(outputs().copied()).all(|id| form(&id).dtype.is_some());
        let fixed = fixed(node.op.name);
        let operands: Vec<ValueId> = node
            .inputs
            .iter()
            .enumerate()
            .filter(|(at, _)| !fixed.contains(at))
            .filter_map(|(_, id)| id.filter(|id| form(id).dtype == Some(DType::F32)))
            .collect();
        // Statistics have a type of their own.
        let has_statistics = matches!(node.op.name, "LayerNormalization" | "BatchNormalization")
            && outputs().count() > 1;
        if !is_known || operands.is_empty() || has_statistics {
            return false;
        }
        let made: Vec<&ValueId> = operands.iter().filter(|id| !form(id).is_on_host).collect();
        let is_wanted = match rule {
            Rule::Half => true,
            // What chooses among constants may have its results in 16 bits from the start.
            Rule::Follow => made.is_empty() || made.iter().any(|id| form(id).is_half),
            Rule::Widest => !made.is_empty() && made.iter().all(|id| form(id).is_half),
        };
        let is_limited = LIMITED.contains(&node.op.name);
        let fits = is_limited || operands.iter().all(|id| self.fits(*id));
        if is_wanted && !fits {
            outputs().for_each(|id| self.forms[id.index()].is_large = true);
        }
        is_wanted && fits
    }

    /// Whether a value may be brought to 16 bits, as far as is known.
    fn fits(&self, id: ValueId) -> bool {
        let Some(at) = self.forms[id.index()].constant else { return true };
        let Ok(elements) = self.graph.constants[at].1.elements::<f32>() else { return false };
        let narrow = |x: f32| half::f16::from_f32(x).to_f32();
        // A number on its own may be what keeps another from being zero.
        let is_lost = |x: f32| {
            x.is_finite() && !narrow(x).is_finite()
                || elements.len() == 1 && x != 0.0 && narrow(x) == 0.0
        };
        self.dtype != DType::F16 || !elements.iter().any(|&x| is_lost(x))
    }

    /// The value in 16 bits.
    fn half(&mut self, id: ValueId) -> Result<ValueId> {
        let form = &self.forms[id.index()];
        if let Some(half) = form.half {
            return Ok(half);
        }
        let half = match form.constant {
            Some(at) => {
                let narrowed = self.narrowed(&self.graph.constants[at].1)?;
                let half = self.value(id);
                self.graph.constants.push((half, narrowed));
                half
            }
            None => {
                // The host may make masks of the largest number, and limits cost nothing there.
                let may_be_large = form.is_large || form.is_on_host;
                let is_limited = may_be_large && self.dtype == DType::F16;
                let source = if is_limited { self.limited(id)? } else { id };
                let half = self.value(id);
                self.cast(source, half, self.dtype)?;
                half
            }
        };
        self.forms[id.index()].half = Some(half);
        Ok(half)
    }

    /// Makes sure that a value exists in its own type.
    fn wide(&mut self, id: ValueId) -> Result<()> {
        let form = &mut self.forms[id.index()];
        let Some(half) = form.half.filter(|_| form.is_half && !form.is_widened) else {
            return Ok(());
        };
        form.is_widened = true;
        self.cast(half, id, DType::F32)
    }

    /// A value for the 16 bits of another.
    fn value(&mut self, id: ValueId) -> ValueId {
        let name = format!("{}/{}", self.graph.name_of(id), self.dtype.name());
        self.graph.add_value(name, None)
    }

    fn cast(&mut self, from: ValueId, to: ValueId, dtype: DType) -> Result<()> {
        let attributes = vec![("to".into(), Attribute::Int(dtype.onnx_number().into()))];
        self.add("Cast", vec![Some(from)], to, attributes)
    }

    /// A value within the range of `f16`; NaN stays.
    fn limited(&mut self, id: ValueId) -> Result<ValueId> {
        let name = self.graph.name_of(id).to_owned();
        let max = half::f16::MAX.to_f32();
        let bounds = [("least", -max), ("most", max)].map(|(what, bound)| {
            Some(self.graph.add_constant(format!("{name}/{what}"), Tensor::scalar(bound)))
        });
        let limited = self.graph.add_value(format!("{name}/limited"), None);
        self.add("Clip", vec![Some(id), bounds[0], bounds[1]], limited, Vec::new())?;
        Ok(limited)
    }

    fn add(
        &mut self,
        op: &str,
        inputs: Vec<Option<ValueId>>,
        output: ValueId,
        attributes: Vec<(String, Attribute)>,
    ) -> Result<()> {
        let op = ops::find("", op, OPSET)?;
        let (name, outputs) = (String::new(), vec![Some(output)]);
        let node = Node { name, op, inputs, outputs, attributes, opset: OPSET };
        self.graph.add_node(node).map(drop)
    }

    /// A constant in 16 bits. Numbers beyond the range of `f16` become its largest one.
    fn narrowed(&self, tensor: &Tensor) -> Result<Tensor> {
        let max = half::f16::MAX.to_f32();
        let limited = |&x: &f32| if x.is_finite() { x.clamp(-max, max) } else { x };
        let elements = tensor.elements::<f32>()?;
        let elements = match self.dtype {
            DType::F16 => elements.iter().map(limited).collect(),
            _ => elements.to_vec(),
        };
        let data = f32::narrow(elements, self.dtype, Overflow::Special)?;
        Tensor::from_data(tensor.shape(), self.dtype, data)
    }
}

/// The version of the operator set that casts and limits are of.
const OPSET: u32 = 13;
