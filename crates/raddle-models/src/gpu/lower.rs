//! Runs steps for given shapes: each becomes launches on the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use raddle::{Buffer, Device, Stream};
use raddle_kernels::conv;
use raddle_kernels::head::HeadWeights;
use raddle_kernels::image::{self, Pool, PoolOf};
use raddle_tensor::graph::{Graph, Node, NodeId, ValueId};
use raddle_tensor::ops::window::Window;
use raddle_tensor::{OpContext, Tensor};

use super::grouped::GroupedWeights;
use super::plan::{Step, Work, is, refusal};
use super::tensor::{Half, Image};
use super::tune::Choices;
use super::{StepReport, lock};
use crate::Result;

/// Weights on the device, packed for their kernels; made once for all shapes.
#[derive(Debug)]
pub struct Weights<T: Half> {
    packed: Mutex<HashMap<Packed, Arc<conv::Weights<T>>>>,
    /// Those of first layers, by the convolution's node.
    stems: Mutex<HashMap<NodeId, Arc<conv::StemWeights<T>>>>,
    /// Those of classifiers' ends, by the product's node.
    heads: Mutex<HashMap<NodeId, Arc<HeadWeights<T>>>>,
    /// Those of convolutions in groups, by the convolution's node.
    pub(super) grouped: Mutex<HashMap<NodeId, Arc<GroupedWeights>>>,
    /// Kernels that were measured.
    pub(super) choices: Choices,
}

/// Weights of a step, by its first node and the layouts they are packed in.
type Packed = (NodeId, Vec<(usize, [usize; 2])>);

impl<T: Half> Default for Weights<T> {
    fn default() -> Self {
        let (packed, stems, heads) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { packed, stems, heads, grouped: Mutex::default(), choices: Choices::default() }
    }
}

impl<T: Half> Weights<T> {
    /// The packed weights of a step.
    pub fn get(
        &self,
        key: Packed,
        pack: impl FnOnce() -> Result<conv::Weights<T>>,
    ) -> Result<Arc<conv::Weights<T>>> {
        let mut packed = lock(&self.packed);
        if let Some(weights) = packed.get(&key) {
            return Ok(weights.clone());
        }
        let weights = Arc::new(pack()?);
        packed.insert(key, weights.clone());
        Ok(weights)
    }

    /// The packed weights of a first layer.
    pub fn stem(
        &self,
        key: NodeId,
        pack: impl FnOnce() -> Result<conv::StemWeights<T>>,
    ) -> Result<Arc<conv::StemWeights<T>>> {
        let mut stems = lock(&self.stems);
        if let Some(weights) = stems.get(&key) {
            return Ok(weights.clone());
        }
        let weights = Arc::new(pack()?);
        stems.insert(key, weights.clone());
        Ok(weights)
    }

    /// The packed weights of a classifier's end.
    pub fn head(
        &self,
        key: NodeId,
        pack: impl FnOnce() -> Result<HeadWeights<T>>,
    ) -> Result<Arc<HeadWeights<T>>> {
        let mut heads = lock(&self.heads);
        if let Some(weights) = heads.get(&key) {
            return Ok(weights.clone());
        }
        let weights = Arc::new(pack()?);
        heads.insert(key, weights.clone());
        Ok(weights)
    }
}

/// A value while steps run.
#[derive(Clone, Debug)]
pub enum Placed<T: Half> {
    /// An input as it was given, in the model's order of dimensions, not yet converted.
    Given(usize),
    /// On the device.
    Image(Image<T>),
    /// An output in the model's own order and type already: a number among those.
    Made(usize),
}

/// What running the steps gave.
pub struct Lowered {
    pub outputs: Vec<(Vec<usize>, Buffer<f32>)>,
    pub report: Vec<StepReport>,
}

/// What the steps are run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To learn which convolutions there are: these are not computed.
    Collect,
    /// To measure which kernel is fastest for each convolution.
    Measure,
    /// To compute, or to be captured.
    Compute,
}

/// One run of the steps.
pub struct Lowering<'a, T: Half> {
    pub graph: &'a Graph,
    pub device: &'a Device,
    /// Where work goes.
    pub stream: &'a Stream,
    /// Where weights are uploaded; not the one that is captured.
    pub setup: &'a Stream,
    pub weights: &'a Weights<T>,
    pub mode: Mode,
    pub values: HashMap<ValueId, (Vec<usize>, Placed<T>)>,
    pub constants: HashMap<ValueId, &'a Tensor>,
    pub inputs: &'a [Buffer<f32>],
    /// Outputs that need no conversion.
    pub made: Vec<Option<Buffer<f32>>>,
    pub report: Vec<StepReport>,
}

impl<'a, T: Half> Lowering<'a, T> {
    pub fn new(
        graph: &'a Graph,
        device: &'a Device,
        stream: &'a Stream,
        setup: &'a Stream,
        weights: &'a Weights<T>,
        mode: Mode,
    ) -> Self {
        let constants = graph.constants.iter().map(|(id, tensor)| (*id, tensor)).collect();
        let (values, made, report) = (HashMap::new(), Vec::new(), Vec::new());
        let inputs = &[];
        Self {
            graph,
            device,
            stream,
            setup,
            weights,
            mode,
            values,
            constants,
            inputs,
            made,
            report,
        }
    }

    /// Runs all steps; values go at their last use.
    pub fn run(
        mut self,
        steps: &[Step],
        shapes: &[Vec<usize>],
        inputs: &'a [Buffer<f32>],
    ) -> Result<Lowered> {
        self.inputs = inputs;
        for (at, (&id, shape)) in self.graph.inputs.iter().zip(shapes).enumerate() {
            self.values.insert(id, (shape.clone(), Placed::Given(at)));
        }
        let mut last_use = HashMap::new();
        for (at, step) in steps.iter().enumerate() {
            for &node in &step.nodes {
                let reads = self.graph.nodes[node.0 as usize].reads();
                reads.for_each(|id| {
                    last_use.insert(id, at);
                });
            }
        }
        for &output in &self.graph.outputs {
            last_use.insert(output, usize::MAX);
        }
        for (at, step) in steps.iter().enumerate() {
            let value = match &step.work {
                Work::Sum(sum) => self.sum(&step.nodes, sum)?,
                Work::Grouped(sum) => self.grouped(&step.nodes, sum)?,
                Work::Stem(sum) => self.stem(step, sum)?,
                Work::Head(sum) => self.head(step, sum)?,
                Work::Node => self.node(step.nodes[0])?,
            };
            self.values.insert(step.output, value);
            self.values.retain(|id, _| last_use.get(id).is_some_and(|&last| last > at));
        }
        let outputs = self.graph.outputs.iter().map(|&id| self.leave(id));
        let outputs = outputs.collect::<Result<_>>()?;
        Ok(Lowered { outputs, report: self.report })
    }

    /// A node on its own.
    pub fn node(&mut self, id: NodeId) -> Result<(Vec<usize>, Placed<T>)> {
        let node = &self.graph.nodes[id.0 as usize];
        match node.op.name {
            _ if !node.op.domain.is_empty() => Err(refusal(self.graph, node, NO_KERNEL)),
            "MaxPool" | "AveragePool" => self.pool(node),
            "GlobalAveragePool" => self.global_mean(node),
            "ReduceMean" => self.reduce_mean(node),
            "Flatten" | "Reshape" | "Squeeze" => self.flatten(node),
            "Identity" | "Dropout" => {
                let input = self.operand(node, 0)?;
                Ok(self.values[&input].clone())
            }
            _ => Err(refusal(self.graph, node, NO_KERNEL)),
        }
    }

    /// An operand that is no constant.
    pub fn operand(&self, node: &Node, at: usize) -> Result<ValueId> {
        let id = node.inputs.get(at).copied().flatten();
        id.filter(|id| self.values.contains_key(id)).ok_or_else(|| {
            refusal(self.graph, node, format!("input {at} is missing or a constant"))
        })
    }

    /// A value as images with channels last; an input is converted.
    pub fn image(&mut self, node: &Node, id: ValueId) -> Result<Image<T>> {
        let (shape, placed) = self.values[&id].clone();
        match placed {
            Placed::Image(image) => Ok(image),
            Placed::Given(_) => {
                let channels = shape.get(1).copied().unwrap_or(1);
                let image = self.enter(node, id, channels.next_multiple_of(8))?;
                self.values.insert(id, (shape, Placed::Image(image.clone())));
                Ok(image)
            }
            Placed::Made(_) => Err(refusal(self.graph, node, "its operand is an output only")),
        }
    }

    /// Converts an input.
    pub fn enter(&mut self, node: &Node, id: ValueId, pitch: usize) -> Result<Image<T>> {
        let (shape, placed) = &self.values[&id];
        let Placed::Given(at) = placed else {
            return Err(refusal(self.graph, node, "its operand is laid out already"));
        };
        let shape = match shape[..] {
            [images, channels] => [images, channels, 1, 1],
            [images, channels, rows, columns] => [images, channels, rows, columns],
            _ => {
                let why = format!("its operand has shape {shape:?}, not rank 2 or 4");
                return Err(refusal(self.graph, node, why));
            }
        };
        let numbers = [shape[0], shape[1], shape[2] * shape[3], pitch];
        let elements = Arc::new(T::channels_last(self.stream, numbers, &self.inputs[*at])?);
        let kernel = format!("to_channels_last {shape:?} pitch {pitch}");
        self.report.push(StepReport { nodes: "input".into(), kernel, flops: 0.0, seconds: None });
        Ok(Image { shape, pitch, elements })
    }

    /// An output in the model's order of dimensions.
    fn leave(&mut self, id: ValueId) -> Result<(Vec<usize>, Buffer<f32>)> {
        let Some((shape, placed)) = self.values.get(&id) else {
            let why = format!("output {} is a constant", self.graph.name_of(id));
            return Err(raddle_tensor::Error::Invalid(why).into());
        };
        let image = match placed {
            Placed::Image(image) => image,
            &Placed::Made(at) => match self.made.get_mut(at).and_then(Option::take) {
                Some(elements) => return Ok((shape.clone(), elements)),
                None => {
                    let why = format!("output {} is listed twice", self.graph.name_of(id));
                    return Err(raddle_tensor::Error::Invalid(why).into());
                }
            },
            Placed::Given(at) => {
                // An input that is an output as well.
                let mut copy = self.stream.zeros::<f32>(self.inputs[*at].len())?;
                self.stream.copy(&self.inputs[*at], &mut copy)?;
                return Ok((shape.clone(), copy));
            }
        };
        let numbers = [image.shape[0], image.shape[1], image.pixels(), image.pitch];
        let elements = T::channels_first(self.stream, numbers, &image.elements)?;
        let kernel = format!("to_channels_first {:?}", image.shape);
        self.report.push(StepReport { nodes: "output".into(), kernel, flops: 0.0, seconds: None });
        Ok((shape.clone(), elements))
    }

    pub fn pool(&mut self, node: &'a Node) -> Result<(Vec<usize>, Placed<T>)> {
        let id = self.operand(node, 0)?;
        let input = self.image(node, id)?;
        let pool = self.pool_numbers(node, input.shape, input.pitch)?;
        let elements = image::pool(self.stream, &pool, input.elements.as_slice())?;
        let shape = [input.shape[0], input.shape[1], pool.output[0], pool.output[1]];
        Ok(self.made(node, "pool", shape, input.pitch, elements))
    }

    /// What a pooling does to images of a shape, with so many channels in memory.
    pub fn pool_numbers(&self, node: &'a Node, shape: [usize; 4], pitch: usize) -> Result<Pool> {
        let ctx = OpContext::of_attributes(node);
        let at_node = |error| self.graph.at(node, error);
        let kernel = ctx.ints("kernel_shape").map_err(at_node)?.unwrap_or_default();
        let kernel = raddle_tensor::shape::dims(kernel).map_err(at_node)?;
        let window = Window::new(&ctx, &kernel, &shape[2..]).map_err(at_node)?;
        if node.outputs.get(1).copied().flatten().is_some() || window.kernel.len() != 2 {
            return Err(refusal(self.graph, node, "indices of the largest elements are wanted"));
        }
        let of = match (is(node, "MaxPool"), ctx.flag("count_include_pad", false).map_err(at_node)?)
        {
            (true, _) => PoolOf::Max,
            (false, true) => PoolOf::MeanWithPadding,
            (false, false) => PoolOf::Mean,
        };
        let pair = |list: &[usize]| [list[0], list[1]];
        Ok(Pool {
            images: shape[0],
            size: pair(&window.input),
            channels: pitch,
            output: pair(&window.output),
            window: pair(&window.kernel),
            stride: pair(&window.strides),
            padding: [window.begins[0], window.begins[1], window.ends[0], window.ends[1]],
            dilation: pair(&window.dilations),
            of,
        })
    }

    fn global_mean(&mut self, node: &Node) -> Result<(Vec<usize>, Placed<T>)> {
        let id = self.operand(node, 0)?;
        let input = self.image(node, id)?;
        let (pixels, images) = (input.pixels(), input.shape[0]);
        let input_elements = input.elements.as_slice();
        let elements = image::mean(self.stream, images, pixels, input.pitch, input_elements)?;
        Ok(self.made(node, "mean", [images, input.shape[1], 1, 1], input.pitch, elements))
    }

    /// The mean over rows and columns, as exporters write a global pooling.
    fn reduce_mean(&mut self, node: &'a Node) -> Result<(Vec<usize>, Placed<T>)> {
        let ctx = OpContext::of_attributes(node);
        let at_node = |error| self.graph.at(node, error);
        let axes = match node.inputs.get(1).copied().flatten() {
            Some(id) => {
                self.constants.get(&id).map(|tensor| tensor.to_i64s().map(|it| it.into_owned()))
            }
            None => ctx.ints("axes").map_err(at_node)?.map(|axes| Ok(axes.to_vec())),
        };
        let mut axes = axes.transpose().map_err(at_node)?.unwrap_or_default();
        axes.sort_unstable();
        let keeps = ctx.flag("keepdims", true).map_err(at_node)?;
        let id = self.operand(node, 0)?;
        let is_spatial = self.values[&id].0.len() == 4 && (axes == [2, 3] || axes == [-2, -1]);
        if !is_spatial {
            return Err(refusal(
                self.graph,
                node,
                "only means over rows and columns have a kernel",
            ));
        }
        let (mut shape, placed) = self.global_mean(node)?;
        if !keeps {
            shape.truncate(2);
        }
        Ok((shape, placed))
    }

    /// Another shape for images of one pixel: nothing moves.
    fn flatten(&mut self, node: &'a Node) -> Result<(Vec<usize>, Placed<T>)> {
        let id = self.operand(node, 0)?;
        let input = self.image(node, id)?;
        let [images, channels, ..] = input.shape;
        if input.pixels() != 1 {
            return Err(refusal(self.graph, node, "only images of one pixel can be flattened"));
        }
        let is_flat = match node.op.name {
            "Flatten" => {
                let ctx = OpContext::of_attributes(node);
                ctx.int("axis", 1).map_err(|error| self.graph.at(node, error))? == 1
            }
            "Reshape" => {
                let wanted = node.inputs.get(1).copied().flatten();
                let wanted = wanted.and_then(|id| self.constants.get(&id));
                let wanted = wanted.and_then(|tensor| tensor.elements::<i64>().ok());
                wanted.is_some_and(|dims| {
                    let fits = |dim: i64, len: usize| dim == -1 || dim == len as i64;
                    let batch = |dim: i64| dim == 0 || fits(dim, images);
                    matches!(dims, &[a, b] if batch(a) && fits(b, channels))
                })
            }
            _ => true,
        };
        if !is_flat {
            return Err(refusal(self.graph, node, "only [batch, features] can be made"));
        }
        Ok((vec![images, channels], Placed::Image(input)))
    }

    /// Notes what a node became.
    pub fn made(
        &mut self,
        node: &Node,
        kernel: &str,
        shape: [usize; 4],
        pitch: usize,
        elements: Buffer<T>,
    ) -> (Vec<usize>, Placed<T>) {
        let nodes = self.graph.node_name(node);
        let kernel = format!("{kernel} {shape:?}");
        self.report.push(StepReport { nodes, kernel, flops: 0.0, seconds: None });
        let image = Image { shape, pitch, elements: Arc::new(elements) };
        (shape.to_vec(), Placed::Image(image))
    }
}

const NO_KERNEL: &str = "there is no kernel for it";
