//! Lowers convolutions in groups with constant weights.

use std::sync::Arc;

use raddle::Buffer;
use raddle_kernels::grouped::{Grouped, Operands};
use raddle_tensor::graph::NodeId;

use super::convolution::Conv;
use super::lower::{Lowering, Placed};
use super::plan::{Sum, groups, refusal};
use super::tensor::{Half, Image};
use super::{StepReport, lock};
use crate::Result;

/// Weights on the device as the kernels read them, in 32 bits: few, and read once for all
/// pixels of a thread.
#[derive(Debug)]
pub struct GroupedWeights {
    weights: Buffer<f32>,
    bias: Option<Buffer<f32>>,
}

impl<T: Half> Lowering<'_, T> {
    /// One launch for a convolution in groups and what follows it.
    pub fn grouped(&mut self, nodes: &[NodeId], sum: &Sum) -> Result<(Vec<usize>, Placed<T>)> {
        let (id, node) = (sum.terms[0], self.graph_node(sum.terms[0]));
        let input = self.operand(node, 0)?;
        let Conv { window, channels, outputs, elements, bias, output } =
            self.conv_numbers(id, input)?;
        let groups = groups(node);
        if groups == 0 || outputs % groups != 0 {
            let why = format!("{outputs} outputs are not shared by {groups} groups");
            return Err(refusal(self.graph, node, why));
        }
        let image = self.image(node, input)?;
        let shape = [image.shape[0], outputs, output[0], output[1]];
        let residual = match sum.residual {
            Some(id) => Some(self.residual(node, id, shape)?),
            None => None,
        };
        let pitch = outputs.next_multiple_of(8);
        let grouped = Grouped {
            images: shape[0],
            size: window.size,
            output,
            pitches: [image.pitch, pitch],
            groups,
            inputs: channels,
            outputs: outputs / groups,
            window: window.filter,
            strides: window.stride,
            dilations: window.dilation,
            begins: window.padding,
        };
        let weights = self.grouped_weights(id, &grouped, elements, bias)?;
        let operands = Operands {
            input: image.elements.as_slice(),
            weights: weights.weights.as_slice(),
            bias: weights.bias.as_ref().map(Buffer::as_slice),
            residual: residual.as_ref().map(|image| image.elements.as_slice()),
        };
        let elements = grouped.run(self.stream, operands, sum.activation)?;
        self.report.push(StepReport {
            nodes: self.names(nodes),
            kernel: format!("groups {shape:?} of {channels}"),
            flops: grouped.flops(),
            seconds: None,
        });
        let image = Image { shape, pitch, elements: Arc::new(elements) };
        Ok((shape.to_vec(), Placed::Image(image)))
    }

    /// The packed weights of a node, made once.
    fn grouped_weights(
        &self,
        id: NodeId,
        grouped: &Grouped,
        elements: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Arc<GroupedWeights>> {
        let mut all = lock(&self.weights.grouped);
        if let Some(weights) = all.get(&id) {
            return Ok(weights.clone());
        }
        let weights = self.setup.upload(&grouped.pack(elements)?)?;
        let bias = bias.map(|bias| Ok::<_, crate::Error>(grouped.pack_bias(bias)?)).transpose()?;
        let bias = bias.map(|bias| self.setup.upload(&bias)).transpose()?;
        let weights = Arc::new(GroupedWeights { weights, bias });
        all.insert(id, weights.clone());
        Ok(weights)
    }
}
