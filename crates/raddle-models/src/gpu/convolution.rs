//! Lowers sums of convolutions and products with constant weights.

use std::borrow::Cow;

use raddle_kernels::conv::{self, Convolution, Filters, Operands, Stem, StemWeights};
use raddle_kernels::head::{self, HeadWeights};
use raddle_tensor::graph::{Node, NodeId, ValueId};
use raddle_tensor::ops::window::Window;
use raddle_tensor::{OpContext, Tensor};

use super::StepReport;
use super::lower::{Lowering, Mode, Placed};
use super::plan::{Step, Sum, groups, is, refusal};
use super::tensor::{Half, Image};
use crate::Result;

/// One convolution of a sum: its window over its input, and its weights.
struct Term<'a, T: Half> {
    input: Image<T>,
    window: conv::Window,
    /// `[outputs, channels, rows, columns]`.
    weights: Cow<'a, [f32]>,
    channels: usize,
    outputs: usize,
    bias: Option<Cow<'a, [f32]>>,
    output: [usize; 2],
}

/// A convolution as the graph has it.
pub(super) struct Conv<'a> {
    pub window: conv::Window,
    /// Channels of a filter.
    pub channels: usize,
    pub outputs: usize,
    /// `[outputs, channels, rows, columns]`.
    pub elements: &'a [f32],
    pub bias: Option<&'a [f32]>,
    /// Rows and columns of the output.
    pub output: [usize; 2],
}

/// A product with constant weights as the graph has it.
struct Product<'a> {
    /// `[outputs, depth]`.
    weights: Cow<'a, [f32]>,
    bias: Option<Cow<'a, [f32]>>,
    outputs: usize,
    depth: usize,
}

impl<'a, T: Half> Lowering<'a, T> {
    /// One launch for all terms of a sum.
    pub fn sum(&mut self, nodes: &[NodeId], sum: &Sum) -> Result<(Vec<usize>, Placed<T>)> {
        let node = self.graph_node(sum.terms[0]);
        let mut terms = sum.terms.iter().map(|&id| self.term(id)).collect::<Result<Vec<_>>>()?;
        // The kernels that shift pixels want a shortcut's one tap behind the others.
        terms.sort_by_key(|term| std::cmp::Reverse(term.window.filter[0] * term.window.filter[1]));
        let [first, rest @ ..] = &terms[..] else {
            return Err(refusal(self.graph, node, "it has no terms"));
        };
        let (images, outputs, output) = (first.input.shape[0], first.outputs, first.output);
        let fits = |term: &Term<'_, T>| {
            term.output == output && term.outputs == outputs && term.input.shape[0] == images
        };
        if !rest.iter().all(fits) {
            return Err(refusal(self.graph, node, "the addition behind it broadcasts"));
        }
        let shape = [images, outputs, output[0], output[1]];
        let residual = match sum.residual {
            Some(id) => Some(self.residual(node, id, shape)?),
            None => None,
        };
        let layouts = terms.iter().map(|term| term.window.layout()).collect();
        let weights =
            self.weights.get((sum.terms[0], layouts), || Ok(pack(self.setup, outputs, &terms)?))?;
        let multiprocessors = self.device.multiprocessor_count() as usize;
        let windows = [Some(first.window), rest.first().map(|term| term.window)];
        let activation = sum.activation;
        let conv =
            Convolution::new(&weights, windows, images, output, activation, multiprocessors)?
                .with_residual(residual.is_some());
        let operands = || Operands {
            input: first.input.elements.as_slice(),
            shortcut: rest.first().map(|term| term.input.elements.as_slice()),
            weights: &*weights,
            residual: residual.as_ref().map(|image| image.elements.as_slice()),
        };
        match self.mode {
            Mode::Collect => self.weights.choices.collect::<T>(self.device, conv),
            Mode::Measure => self.weights.choices.measure(self.stream, conv, operands)?,
            Mode::Compute => {}
        }
        let (conv, seconds) = self.weights.choices.apply(conv);
        let elements = match self.mode {
            Mode::Collect => self.stream.zeros(conv.output_len())?,
            Mode::Measure | Mode::Compute => conv.run(self.stream, operands())?,
        };
        self.report.push(StepReport {
            nodes: self.names(nodes),
            kernel: format!("conv {shape:?} {}", conv.choice()),
            flops: conv.flops(),
            seconds,
        });
        let pitch = weights.channels();
        let image = Image { shape, pitch, elements: std::sync::Arc::new(elements) };
        let is_product = first.output == [1, 1] && !is(node, "Conv");
        let dims = if is_product { shape[..2].to_vec() } else { shape.to_vec() };
        Ok((dims, Placed::Image(image)))
    }

    pub(super) fn names(&self, nodes: &[NodeId]) -> String {
        let names = nodes.iter().map(|&id| self.graph.node_name(self.graph_node(id)));
        names.collect::<Vec<_>>().join(" + ")
    }

    /// A convolution of the model's input with the pooling behind it: one launch that reads
    /// the input as it is given where that is possible, else one for each part.
    pub fn stem(&mut self, step: &Step, sum: &Sum) -> Result<(Vec<usize>, Placed<T>)> {
        if let Some(value) = self.stem_at_once(step, sum)? {
            return Ok(value);
        }
        let [before @ .., pool] = &step.nodes[..] else {
            return Err(refusal(self.graph, self.graph_node(sum.terms[0]), "nothing pools it"));
        };
        let convolved = self.sum(before, sum)?;
        let pool = self.graph_node(*pool);
        if let Some(between) = pool.inputs.first().copied().flatten() {
            self.values.insert(between, convolved);
        }
        self.pool(pool)
    }

    fn stem_at_once(&mut self, step: &Step, sum: &Sum) -> Result<Option<(Vec<usize>, Placed<T>)>> {
        let (id, node) = (sum.terms[0], self.graph_node(sum.terms[0]));
        let input = self.operand(node, 0)?;
        let (shape, &Placed::Given(given)) = (&self.values[&input].0, &self.values[&input].1)
        else {
            return Ok(None);
        };
        let images = shape.first().copied().unwrap_or(0);
        let Conv { mut window, channels, outputs, elements, bias, output } =
            self.conv_numbers(id, input)?;
        window.channels = channels;
        let stem = Stem { images, window, outputs, convolved: output, activation: sum.activation };
        let pitch = outputs.next_multiple_of(8);
        let pool = match step.nodes.last() {
            Some(&pool) => self.graph_node(pool),
            None => return Ok(None),
        };
        let pool = self.pool_numbers(pool, [images, outputs, output[0], output[1]], pitch)?;
        if !stem.is_possible() || !stem.is_pooled_by(&pool) {
            return Ok(None);
        }
        let setup = self.setup;
        let pack = || Ok(StemWeights::pack(setup, &stem, elements, bias)?);
        let weights = self.weights.stem(id, pack)?;
        let elements = stem.run(self.stream, &weights, self.inputs[given].as_slice())?;
        let [rows, columns] = stem.pooled();
        let shape = [images, outputs, rows, columns];
        self.report.push(StepReport {
            nodes: self.names(&step.nodes),
            kernel: format!("stem {shape:?}"),
            flops: stem.flops(),
            seconds: None,
        });
        let image = Image { shape, pitch, elements: std::sync::Arc::new(elements) };
        Ok(Some((shape.to_vec(), Placed::Image(image))))
    }

    /// The mean over pixels and the product behind it: one launch for few images, else one
    /// for each part.
    pub fn head(&mut self, step: &Step, sum: &Sum) -> Result<(Vec<usize>, Placed<T>)> {
        if let Some(value) = self.head_at_once(step, sum)? {
            return Ok(value);
        }
        let [before @ .., product] = &step.nodes[..] else {
            return Err(refusal(self.graph, self.graph_node(sum.terms[0]), "it has no nodes"));
        };
        for &id in before {
            let value = self.node(id)?;
            if let Some(output) = self.graph_node(id).outputs.first().copied().flatten() {
                self.values.insert(output, value);
            }
        }
        self.sum(&[*product], sum)
    }

    fn head_at_once(&mut self, step: &Step, sum: &Sum) -> Result<Option<(Vec<usize>, Placed<T>)>> {
        let (id, node) = (sum.terms[0], self.graph_node(sum.terms[0]));
        let [first, ..] = &step.nodes[..] else { return Ok(None) };
        let mean = self.graph_node(*first);
        let input = self.operand(mean, 0)?;
        let image = self.image(mean, input)?;
        let ([images, channels, ..], pitch) = (image.shape, image.pitch);
        let (weights, bias) = self.weights_of(node)?;
        let Product { weights, bias, outputs, depth } = self.product(node, weights, bias)?;
        let is_possible = HeadWeights::<T>::is_possible(outputs, pitch) && depth == channels;
        if !is_possible || !head::is_worth_it(images) {
            return Ok(None);
        }
        let setup = self.setup;
        let pack =
            || Ok(HeadWeights::pack(setup, [outputs, depth, pitch], &weights, bias.as_deref())?);
        let packed = self.weights.head(id, pack)?;
        let numbers = [images, image.pixels()];
        let elements =
            head::head(self.stream, numbers, &packed, image.elements.as_slice(), sum.activation)?;
        self.report.push(StepReport {
            nodes: self.names(&step.nodes),
            kernel: format!("head [{images}, {outputs}]"),
            flops: 2.0 * (images * outputs * depth) as f64,
            seconds: None,
        });
        self.made.push(Some(elements));
        Ok(Some((vec![images, outputs], Placed::Made(self.made.len() - 1))))
    }

    pub(super) fn graph_node(&self, id: NodeId) -> &'a Node {
        &self.graph.nodes[id.0 as usize]
    }

    pub(super) fn residual(
        &mut self,
        node: &Node,
        id: ValueId,
        shape: [usize; 4],
    ) -> Result<Image<T>> {
        if !self.values.contains_key(&id) {
            return Err(refusal(self.graph, node, "what is added behind it is not known"));
        }
        let image = self.image(node, id)?;
        if image.shape != shape {
            return Err(refusal(self.graph, node, "the addition behind it broadcasts"));
        }
        Ok(image)
    }

    fn term(&mut self, id: NodeId) -> Result<Term<'a, T>> {
        let node = self.graph_node(id);
        match is(node, "Conv") {
            true => self.conv_term(id),
            false => {
                let (weights, bias) = self.weights_of(node)?;
                self.product_term(node, weights, bias)
            }
        }
    }

    /// The constant weights of a node, and its bias if it has one.
    fn weights_of(&self, node: &'a Node) -> Result<(&'a Tensor, Option<&'a Tensor>)> {
        let constant = |at: usize| {
            let id = node.inputs.get(at).copied().flatten()?;
            self.constants.get(&id).copied()
        };
        let weights =
            constant(1).ok_or_else(|| refusal(self.graph, node, "its weights are no constant"))?;
        Ok((weights, constant(2)))
    }

    /// The numbers and weights of a convolution; channels in memory are not known yet.
    pub(super) fn conv_numbers(&self, id: NodeId, input: ValueId) -> Result<Conv<'a>> {
        let node = self.graph_node(id);
        let (weights, bias) = self.weights_of(node)?;
        let at_node = |error| self.graph.at(node, error);
        let &[outputs, channels, rows, columns] = weights.shape() else {
            return Err(refusal(self.graph, node, "its weights have not rank 4"));
        };
        let elements = weights.elements::<f32>().map_err(at_node)?;
        let bias = bias.map(Tensor::elements::<f32>).transpose().map_err(at_node)?;
        let shape = &self.values[&input].0;
        if shape.len() != 4 || shape[1] != channels * groups(node) {
            return Err(refusal(self.graph, node, format!("its operand has shape {shape:?}")));
        }
        let ctx = OpContext::of_attributes(node);
        let sliding = Window::new(&ctx, &[rows, columns], &shape[2..]).map_err(at_node)?;
        let pair = |list: &[usize]| [list[0], list[1]];
        let window = conv::Window {
            size: pair(&shape[2..]),
            channels: 0,
            filter: [rows, columns],
            stride: pair(&sliding.strides),
            padding: pair(&sliding.begins),
            dilation: pair(&sliding.dilations),
        };
        let output = pair(&sliding.output);
        Ok(Conv { window, channels, outputs, elements, bias, output })
    }

    fn conv_term(&mut self, id: NodeId) -> Result<Term<'a, T>> {
        let node = self.graph_node(id);
        let input = self.operand(node, 0)?;
        let Conv { mut window, channels, outputs, elements, bias, output } =
            self.conv_numbers(id, input)?;
        let bias = bias.map(Cow::Borrowed);
        let is_given = matches!(self.values[&input].1, Placed::Given(_));
        if is_given && let Some((paired, weights)) = pair_columns(&window, channels, elements) {
            let image = self.enter(node, input, 4)?;
            let (window, weights) = (paired, Cow::Owned(weights));
            return Ok(Term { input: image, window, weights, channels: 8, outputs, bias, output });
        }
        let image = self.image(node, input)?;
        window.channels = image.pitch;
        let weights = Cow::Borrowed(elements);
        Ok(Term { input: image, window, weights, channels, outputs, bias, output })
    }

    /// `y = alpha * x * w + beta * c` as a convolution of images of one pixel.
    fn product_term(
        &mut self,
        node: &'a Node,
        weights: &'a Tensor,
        bias: Option<&'a Tensor>,
    ) -> Result<Term<'a, T>> {
        let Product { weights, bias, outputs, depth } = self.product(node, weights, bias)?;
        let input = self.operand(node, 0)?;
        let input = self.image(node, input)?;
        if input.pixels() != 1 || input.shape[1] != depth {
            let why = format!("its operand has shape {:?}, its weights {depth} rows", input.shape);
            return Err(refusal(self.graph, node, why));
        }
        let window = conv::Window::point(input.pitch);
        Ok(Term { input, window, weights, channels: depth, outputs, bias, output: [1, 1] })
    }

    /// The numbers of a product with constant weights.
    fn product(
        &self,
        node: &'a Node,
        weights: &'a Tensor,
        bias: Option<&'a Tensor>,
    ) -> Result<Product<'a>> {
        let at_node = |error| self.graph.at(node, error);
        let ctx = OpContext::of_attributes(node);
        let alpha = ctx.float("alpha", 1.0).map_err(at_node)?;
        let beta = ctx.float("beta", 1.0).map_err(at_node)?;
        let is_transposed = ctx.flag("transB", false).map_err(at_node)?;
        let elements = weights.elements::<f32>().map_err(at_node)?;
        let [rows, columns] = [weights.shape()[0], weights.shape()[1]];
        let (outputs, depth) = if is_transposed { (rows, columns) } else { (columns, rows) };
        let weights: Cow<'a, [f32]> = match (is_transposed, alpha == 1.0) {
            (true, true) => Cow::Borrowed(elements),
            (true, false) => elements.iter().map(|x| alpha * x).collect(),
            (false, _) => (0..outputs * depth)
                .map(|at| alpha * elements[at % depth * outputs + at / depth])
                .collect(),
        };
        let bias = match bias {
            None => None,
            Some(bias) => {
                let elements = bias.elements::<f32>().map_err(at_node)?;
                let is_row = matches!(bias.shape(), [n] | [1, n] if *n == outputs);
                if !is_row && elements.len() != 1 {
                    return Err(refusal(self.graph, node, "its addend is no row"));
                }
                let at = |output: usize| elements[if is_row { output } else { 0 }];
                Some((0..outputs).map(|output| beta * at(output)).collect())
            }
        };
        Ok(Product { weights, bias, outputs, depth })
    }
}

/// A convolution over few channels in steps of two columns as one over pairs of columns:
/// four channels of two columns are eight that are copied as one. Gives the window over
/// pairs and the weights for it.
///
/// Column `2 * x - p + j` is half `e` of pair `x + t - q` with `q = ceil(p / 2)` and
/// `j = 2 * t + e - p % 2`.
fn pair_columns(
    window: &conv::Window,
    channels: usize,
    weights: &[f32],
) -> Option<(conv::Window, Vec<f32>)> {
    let [rows, columns] = window.filter;
    let is_fit = channels <= 4
        && window.stride[1] == 2
        && window.dilation[1] == 1
        && window.size[1].is_multiple_of(2);
    if !is_fit {
        return None;
    }
    let shift = window.padding[1] % 2;
    let pairs = (columns + shift).div_ceil(2);
    let outputs = weights.len() / (channels * rows * columns).max(1);
    let mut paired = vec![0.0; outputs * 8 * rows * pairs];
    for output in 0..outputs {
        for channel in 0..channels {
            for row in 0..rows {
                for column in 0..columns {
                    let (pair, half) = ((column + shift) / 2, (column + shift) % 2);
                    let from = ((output * channels + channel) * rows + row) * columns + column;
                    let to = ((output * 8 + half * 4 + channel) * rows + row) * pairs + pair;
                    paired[to] = weights[from];
                }
            }
        }
    }
    let window = conv::Window {
        size: [window.size[0], window.size[1] / 2],
        channels: 8,
        filter: [rows, pairs],
        stride: [window.stride[0], 1],
        padding: [window.padding[0], window.padding[1].div_ceil(2)],
        dilation: [window.dilation[0], 1],
    };
    Some((window, paired))
}

/// Packs the weights of all terms; their biases are summed.
fn pack<T: Half>(
    stream: &raddle::Stream,
    outputs: usize,
    terms: &[Term<'_, T>],
) -> raddle_kernels::Result<conv::Weights<T>> {
    let mut bias = vec![0.0; outputs];
    for own in terms.iter().filter_map(|term| term.bias.as_ref()) {
        bias.iter_mut().zip(own.iter()).for_each(|(sum, own)| *sum += own);
    }
    let of = |at: usize| {
        let term = terms.get(at)?;
        Some(Filters { elements: &term.weights, channels: term.channels, window: term.window })
    };
    let first =
        of(0).unwrap_or(Filters { elements: &[], channels: 0, window: conv::Window::point(8) });
    conv::Weights::pack(stream, outputs, first, of(1), Some(&bias))
}
