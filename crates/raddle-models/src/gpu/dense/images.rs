//! Images of `f32` with channels last, as fast convolutions read and write them: a value
//! stays so between them, and every other node has it in the model's own order.

use std::sync::Arc;

use raddle_kernels::dense::{
    self, Channels, Finish, Plane, Pooling, Reduction, Scalar, Widened, Words,
};
use raddle_tensor::graph::ValueId;
use raddle_tensor::ops::window::Window;
use raddle_tensor::{DType, Tensor};

use super::call::Call;
use super::follow::Follow;
use super::lazy::Content;
use super::products::sliding;
use super::value::{Dense, Kit};
use super::{Failure, Lowering, Made, lock};

/// A value `[image, channel, row, column]` that lies with channels last.
#[derive(Clone, Debug)]
pub struct Images {
    /// `[image, row, column, channel]`.
    pub lying: Dense,
}

impl Images {
    /// The value's own shape.
    pub fn shape(&self) -> [usize; 4] {
        let shape = &self.lying.shape;
        [shape[0], shape[3], shape[1], shape[2]]
    }
}

impl Kit<'_> {
    /// `[batch, columns, rows]` of `[batch, rows, columns]`, in another shape.
    fn turned(
        &mut self,
        x: &Dense,
        matrices: [usize; 3],
        shape: [usize; 4],
    ) -> Result<Dense, Failure> {
        let input = self.words(x)?;
        let words = dense::turned(self.stream, matrices, input.as_slice())?;
        Ok(self.launched(shape.to_vec(), DType::F32, words))
    }
}

impl Lowering<'_> {
    /// Images in the model's order of dimensions.
    pub fn channels_first(&mut self, id: ValueId) -> Result<Dense, Failure> {
        if let Some(dense) = self.others.get(&id) {
            return Ok(dense.clone());
        }
        let Made::Images(images) = &self.values[&id] else {
            return Err(Failure::why("it is no list of images with channels last"));
        };
        let (lying, shape) = (images.lying.clone(), images.shape());
        let [count, channels, height, width] = shape;
        let dense = self.kit.turned(&lying, [count, height * width, channels], shape)?;
        self.others.insert(id, dense.clone());
        Ok(dense)
    }

    /// A value of four dimensions on the device, with channels last.
    fn channels_last(&mut self, id: ValueId, dense: &Dense) -> Result<Dense, Failure> {
        if let Some(dense) = self.others.get(&id) {
            return Ok(dense.clone());
        }
        let &[count, channels, height, width] = &dense.shape[..] else {
            return Err(Failure::why(format!(
                "images have four dimensions, not {:?}",
                dense.shape
            )));
        };
        let lying = [count, height, width, channels];
        let dense = self.kit.turned(dense, [count, channels, height * width], lying)?;
        self.others.insert(id, dense.clone());
        Ok(dense)
    }
}

impl Call<'_, '_> {
    /// A value with channels last: `[image, row, column, channel]`.
    pub fn images(&mut self, id: ValueId) -> Result<Dense, Failure> {
        if let Made::Images(images) = &self.lowering().values[&id] {
            return Ok(images.lying.clone());
        }
        let dense = self.value(id)?;
        self.lowering_mut().channels_last(id, &dense)
    }

    /// The images that an operand is, if it lies so.
    pub fn lying(&self, at: usize) -> Result<Option<Images>, Failure> {
        let id = self.required(at)?;
        Ok(match &self.lowering().values[&id] {
            Made::Images(images) => Some(images.clone()),
            Made::Device(_) | Made::Host(_) => None,
        })
    }

    /// An operation on elements of images, which stay as they lie. Other operands are read in
    /// that order.
    pub fn elementwise_of_images(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let ids: Vec<ValueId> = self.node.reads().collect();
        let mut images = None;
        for id in &ids {
            let (shape, dtype) = match &self.lowering().values[id] {
                Made::Images(own) => {
                    images = Some(own.shape());
                    continue;
                }
                Made::Device(dense) => (dense.shape.len(), dense.dtype),
                Made::Host(tensor) => (tensor.rank(), tensor.dtype()),
            };
            if dtype != DType::F32 || shape > 4 {
                return Ok(None);
            }
        }
        if images.is_none() {
            return Ok(None);
        }
        let Some(made) = self.with_lying(Self::elementwise)? else { return Ok(None) };
        let mut results = Vec::new();
        for made in made {
            results.push(match made {
                Made::Device(dense) if dense.rank() == 4 && dense.dtype == DType::F32 => {
                    Images { lying: dense }.into()
                }
                Made::Device(dense) if dense.rank() == 4 => {
                    self.kit().transposed(&dense, &[0, 3, 1, 2])?.into()
                }
                made => made,
            });
        }
        Ok(Some(results))
    }

    /// A value with channels last; a single number as it is.
    pub fn lying_value(&mut self, id: ValueId) -> Result<Dense, Failure> {
        if let Made::Images(images) = &self.lowering().values[&id] {
            return Ok(images.lying.clone());
        }
        let dense = self.value(id)?;
        if dense.len() == 1 {
            return dense.reshaped(&[]);
        }
        let mut shape = vec![1; 4 - dense.rank()];
        shape.extend(&dense.shape);
        if dense.rank() == 4 && shape.iter().all(|&dim| dim > 1) {
            return self.lowering_mut().channels_last(id, &dense);
        }
        self.kit().transposed(&dense.reshaped(&shape)?, &[0, 2, 3, 1])
    }

    /// A reduction over the pixels of images, whatever it keeps of their dimensions.
    pub fn reduction_of_images(
        &mut self,
        axes: &[usize],
        reduction: Reduction,
    ) -> Result<Option<Dense>, Failure> {
        if axes != [2, 3] {
            return Ok(None);
        }
        let Some(images) = self.lying(0)? else { return Ok(None) };
        let [count, channels, height, width] = images.shape();
        let lying = images.lying.reshaped(&[count, height * width, channels])?;
        let reduced = self.kit().reduced(&lying, &[1], reduction, DType::F32)?;
        reduced.reshaped(&[count, channels, 1, 1]).map(Some)
    }

    /// A convolution with channels last, where there is a kernel for it.
    pub fn conv_of_images(&mut self) -> Result<Option<Vec<Made>>, Failure> {
        let ((x_type, x), (w_type, w)) = (self.outline(0)?, self.outline(1)?);
        let groups = self.ctx.int("group", 1)?;
        let (&[count, inputs, ..], &[outputs, depth, ..]) = (&x[..], &w[..]) else {
            return Ok(None);
        };
        let is_fit = x_type == DType::F32
            && w_type == DType::F32
            && (x.len(), w.len(), groups) == (4, 4, 1)
            && depth == inputs;
        if !is_fit {
            return Ok(None);
        }
        let window = Window::new(&self.ctx, &w[2..], &x[2..])?;
        let &[height, width] = &window.output[..] else { return Ok(None) };
        let shape = [count, outputs, height, width];
        let mut sliding = sliding(&window)?;
        sliding.scalar = Scalar::F32.code();
        sliding.len = dense::Dims::new(&shape)?.len;
        let channels = Channels {
            groups: 1,
            inputs: inputs as u32,
            outputs: outputs as u32,
            is_transposed: 0,
            has_bias: u32::from(self.has(2)),
            weights: Scalar::F32.code(),
        };
        let has_boxes = |kit: &Kit<'_>, shape, channels| {
            dense::has_boxes(kit.stream, Scalar::F32, shape, channels)
        };
        let (mut sliding, mut channels) = (sliding, channels);
        let (x, weights) = if has_boxes(self.kit(), sliding, channels) {
            let x = self.required(0)?;
            (self.images(x)?, self.packed(1)?)
        } else {
            let widened = Widened::new(sliding, channels);
            let widened = widened.filter(|it| has_boxes(self.kit(), it.shape, it.channels));
            let Some(widened) = widened else { return Ok(None) };
            let Some(weights) = self.packed_wide(1, &widened)? else { return Ok(None) };
            (sliding, channels) = (widened.shape, widened.channels);
            (self.widened(0, &widened)?, weights)
        };
        let bias = self.maybe(2)?;
        let follow = self.follow(&shape);
        let residual = self.residual_of(follow.as_ref())?;
        let mut finish = Finish::plain(self.kit().arithmetic);
        if let Some(follow) = &follow {
            finish.bounds = follow.bounds;
            finish.residual = residual.as_ref().map(|words| words.as_slice());
        }
        let kit = self.kit();
        let bias = bias.as_ref().unwrap_or(&weights);
        let operands = [kit.words(&x)?, kit.words(&weights)?, kit.words(bias)?];
        let operands = operands.each_ref().map(|words| words.as_slice());
        let (words, launches) =
            dense::convolve_last(kit.stream, sliding, channels, finish, operands)?;
        kit.launches += launches - 1;
        let made = self.made_images(shape, words);
        match follow {
            Some(follow) => {
                self.leave(&follow.nodes, made);
                Ok(Some(Vec::new()))
            }
            None => Ok(Some(vec![made])),
        }
    }

    /// What a convolution adds of other images, in memory.
    pub fn residual_of(&mut self, follow: Option<&Follow>) -> Result<Option<Arc<Words>>, Failure> {
        let Some(id) = follow.and_then(|follow| follow.residual) else { return Ok(None) };
        let residual = self.images(id)?;
        self.kit().words(&residual).map(Some)
    }

    /// Images of few channels, their windows side by side.
    fn widened(&mut self, at: usize, widened: &Widened) -> Result<Dense, Failure> {
        let x = self.x(at)?;
        let input = self.kit().words(&x)?;
        let words = widened.widen(self.kit().stream, input.as_slice())?;
        let len = words.len() * 2;
        Ok(self.kit().launched(vec![len], DType::F32, words))
    }

    /// Constant weights for it, made once.
    fn packed_wide(&mut self, at: usize, widened: &Widened) -> Result<Option<Dense>, Failure> {
        let id = self.required(at)?;
        if !self.lowering().is_constant.contains(&id) {
            return Ok(None);
        }
        if let Some(dense) = lock(&self.lowering().constants.packed).get(&id) {
            return Ok(Some(dense.clone()));
        }
        let packed = widened.pack(self.host(at)?.elements::<f32>()?)?;
        let packed = self.kit().upload(&Tensor::vector(packed))?;
        lock(&self.lowering().constants.packed).insert(id, packed.clone());
        Ok(Some(packed))
    }

    /// Notes a launch that made images of a shape in the model's order.
    pub fn made_images(
        &mut self,
        [count, channels, height, width]: [usize; 4],
        words: Words,
    ) -> Made {
        let lying = vec![count, height, width, channels];
        Images { lying: self.kit().launched(lying, DType::F32, words) }.into()
    }

    /// Weights `[output, channel, row, column]` with channels last, made once where they are
    /// constants.
    fn packed(&mut self, at: usize) -> Result<Dense, Failure> {
        let id = self.required(at)?;
        let is_constant = self.lowering().is_constant.contains(&id);
        if is_constant && let Some(dense) = lock(&self.lowering().constants.packed).get(&id) {
            return Ok(dense.clone());
        }
        let tensor = match &self.lowering().values[&id] {
            Made::Host(tensor) if is_constant => tensor.clone(),
            _ => return self.images(id),
        };
        let &[outputs, channels, height, width] = tensor.shape() else {
            return Err(Failure::why(format!("its weights have shape {:?}", tensor.shape())));
        };
        let shape = vec![outputs, height, width, channels];
        self.turned_ahead(id, &tensor, [outputs, channels, height * width], shape)
    }

    /// Constant weights `[k, column]` of a product as `[column, k]`, made once, where the
    /// product would turn them each time.
    pub fn turned_weights(
        &mut self,
        at: usize,
        shape: [usize; 3],
    ) -> Result<Option<Dense>, Failure> {
        let id = self.required(at)?;
        let kit = self.kit();
        let is_turned = dense::is_right_turned(kit.stream, kit.arithmetic, shape);
        if !is_turned || !self.lowering().is_constant.contains(&id) {
            return Ok(None);
        }
        if let Some(dense) = lock(&self.lowering().constants.packed).get(&id) {
            return Ok(Some(dense.clone()));
        }
        let Made::Host(tensor) = &self.lowering().values[&id] else { return Ok(None) };
        let (tensor, [_, columns, depth]) = (tensor.clone(), shape);
        self.turned_ahead(id, &tensor, [1, depth, columns], vec![columns, depth]).map(Some)
    }

    /// The matrices of a constant with rows and columns exchanged.
    fn turned_ahead(
        &mut self,
        id: ValueId,
        tensor: &Tensor,
        matrices: [usize; 3],
        shape: Vec<usize>,
    ) -> Result<Dense, Failure> {
        let kit = self.kit();
        let dense = kit.upload(tensor)?;
        let input = kit.words(&dense)?;
        let words = dense::turned(kit.setup, matrices, input.as_slice())?;
        kit.wait_for_setup()?;
        let packed = Dense { shape, dtype: DType::F32, content: Content::Placed(Arc::new(words)) };
        lock(&self.lowering().constants.packed).insert(id, packed.clone());
        Ok(packed)
    }

    /// The largest elements or the means of windows of images that lie with channels last.
    pub fn pool_of_images(
        &mut self,
        pooling: Pooling,
        counts_padding: bool,
    ) -> Result<Option<Vec<Made>>, Failure> {
        let Some(images) = self.lying(0)? else { return Ok(None) };
        let (window, shape) = self.pool_window(&images.shape())?;
        let &[count, channels, height, width] = &shape[..] else { return Ok(None) };
        let of = (sliding(&window)?, pooling, counts_padding);
        let Some(plane) = Plane::new(of.0, of.1, of.2, channels) else { return Ok(None) };
        let input = self.kit().words(&images.lying)?;
        let words = dense::pool_planes(self.kit().stream, plane, count, input.as_slice())?;
        Ok(Some(vec![self.made_images([count, channels, height, width], words)]))
    }

    /// A reduction over the pixels of images that lie with channels last.
    pub fn global_pool_of_images(
        &mut self,
        reduction: Reduction,
    ) -> Result<Option<Vec<Made>>, Failure> {
        Ok(self.reduction_of_images(&[2, 3], reduction)?.map(|reduced| vec![reduced.into()]))
    }
}
