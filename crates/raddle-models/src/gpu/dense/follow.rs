//! What a convolution by tiles takes into its own launch: an addition behind it and the
//! function behind that.

use raddle_tensor::graph::{Node, NodeId, ValueId};
use raddle_tensor::{DType, OpContext};

use super::call::Call;
use super::{Lowering, Made};
use crate::gpu::plan::is;

/// Nodes that a launch computes beside its own.
pub struct Follow {
    /// A row that is added to all rows of the sums.
    pub bias: Option<ValueId>,
    /// Added to the sums.
    pub residual: Option<ValueId>,
    /// What results are kept within.
    pub bounds: [f32; 2],
    /// The nodes, in order; the last one's output is what the launch makes.
    pub nodes: Vec<NodeId>,
}

impl Call<'_, '_> {
    /// What follows this node, whose output has this shape, if anything that only it makes.
    pub fn follow(&self, shape: &[usize]) -> Option<Follow> {
        let lowering = self.lowering();
        let unbounded = [f32::NEG_INFINITY, f32::INFINITY];
        let (bias, residual, nodes) = (None, None, Vec::new());
        let mut follow = Follow { bias, residual, bounds: unbounded, nodes };
        let mut value = self.node.outputs.first().copied().flatten()?;
        while let Some((id, node)) = lowering.only_reader(value) {
            let is_first = follow.nodes.is_empty();
            if is_first && is(node, "Add") {
                let Some(residual) = addend(lowering, node, value, shape) else { break };
                follow.residual = Some(residual);
            } else if let Some(bounds) = bounds(lowering, node, value) {
                follow.bounds = bounds;
            } else {
                break;
            }
            follow.nodes.push(id);
            value = node.outputs.first().copied().flatten()?;
            if follow.bounds != unbounded {
                break;
            }
        }
        (!follow.nodes.is_empty()).then_some(follow)
    }
}

impl Call<'_, '_> {
    /// The bias, and of `f32` the bounds, that follow a product of this shape and type.
    pub fn follow_row(&self, shape: &[usize], dtype: DType) -> Option<Follow> {
        let lowering = self.lowering();
        let unbounded = [f32::NEG_INFINITY, f32::INFINITY];
        let (residual, nodes) = (None, Vec::new());
        let mut follow = Follow { bias: None, residual, bounds: unbounded, nodes };
        let mut value = self.node.outputs.first().copied().flatten()?;
        while let Some((id, node)) = lowering.only_reader(value) {
            if follow.nodes.is_empty() && is(node, "Add") {
                follow.bias = Some(row(lowering, node, value, shape, dtype)?);
            } else if let (DType::F32, Some(bounds)) = (dtype, bounds(lowering, node, value)) {
                follow.bounds = bounds;
            } else {
                break;
            }
            follow.nodes.push(id);
            value = node.outputs.first().copied().flatten()?;
            if follow.bounds != unbounded {
                break;
            }
        }
        (!follow.nodes.is_empty()).then_some(follow)
    }
}

/// The other operand of an addition, if it is one row for all and is there already.
fn row(
    lowering: &Lowering<'_>,
    node: &Node,
    value: ValueId,
    shape: &[usize],
    dtype: DType,
) -> Option<ValueId> {
    let &[Some(left), Some(right)] = &node.inputs[..] else { return None };
    let other = if left == value { right } else { left };
    let (own_type, own) = match lowering.values.get(&other)? {
        Made::Device(dense) => (dense.dtype, dense.shape.clone()),
        Made::Host(tensor) => (tensor.dtype(), tensor.shape().to_vec()),
        Made::Images(_) => return None,
    };
    let columns = shape.last()?;
    let is_row = own.last() == Some(columns) && own.iter().product::<usize>() == *columns;
    (own_type == dtype && is_row && own.len() <= shape.len()).then_some(other)
}

/// The other operand of an addition, if it is there already and is not broadcast.
fn addend(
    lowering: &Lowering<'_>,
    node: &Node,
    value: ValueId,
    shape: &[usize],
) -> Option<ValueId> {
    let &[Some(left), Some(right)] = &node.inputs[..] else { return None };
    let other = if left == value { right } else { left };
    let is_fit = match lowering.values.get(&other)? {
        Made::Device(dense) => dense.dtype == DType::F32 && dense.shape == shape,
        Made::Images(images) => images.shape() == shape,
        Made::Host(_) => false,
    };
    is_fit.then_some(other)
}

/// The bounds that a node keeps a value within, if it does nothing else.
fn bounds(lowering: &Lowering<'_>, node: &Node, value: ValueId) -> Option<[f32; 2]> {
    if node.inputs.first().copied().flatten() != Some(value) {
        return None;
    }
    let ctx = OpContext::of_attributes(node);
    let bound = |at: usize, name: &str, default: f32| match node.inputs.get(at).copied().flatten() {
        Some(id) => match lowering.values.get(&id)? {
            Made::Host(tensor) => match tensor.elements::<f32>().ok()? {
                &[number] => Some(number),
                _ => None,
            },
            Made::Device(_) | Made::Images(_) => None,
        },
        None => ctx.float(name, default).ok(),
    };
    if is(node, "Relu") {
        return Some([0.0, f32::INFINITY]);
    }
    if !is(node, "Clip") {
        return None;
    }
    let bounds = [bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?];
    // An empty range is the operation's to decide.
    (bounds[0] <= bounds[1]).then_some(bounds)
}
