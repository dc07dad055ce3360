//! The first layer of a network for pictures in one launch: from the input in the order
//! of dimensions that models have, through a convolution and its function, to behind a
//! pooling of three by three in steps of two. See `kernels/conv/stem.rs`.

use raddle::device::DeviceType;
use raddle::{Buffer, Grid, Slice, SliceMut, Stream};

use super::{OPERATION, Window};
use crate::error::check_len;
use crate::image::{Pool, PoolOf};
use crate::kernels::conv::stem as device;
use crate::kernels::conv::{Activation, GROUP_CHANNELS, Half};
use crate::{Error, Result};

/// A convolution over an input of few channels with the pooling behind it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stem {
    /// Images.
    pub images: usize,
    /// The filter and the input, whose channels are those of the model.
    pub window: Window,
    /// Channels of the output.
    pub outputs: usize,
    /// Rows and columns that the convolution gives.
    pub convolved: [usize; 2],
    /// What is done to the sums.
    pub activation: Activation,
}

/// The packed weights of a [`Stem`], of all sizes of images.
#[derive(Debug)]
pub struct StemWeights<T: Half> {
    packed: Buffer<T>,
    bias: Buffer<f32>,
    outputs: usize,
    channels: usize,
    filter: [usize; 2],
    /// Whether the first tap is the right one of its pair of columns.
    is_odd: bool,
}

impl Stem {
    /// Whether the kernel computes it.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let Window { size, channels, filter, stride, padding, dilation } = self.window;
        let steps = filter[0] * self.pair_steps();
        let is_filter = (1..=4).contains(&channels)
            && dilation == [1, 1]
            && stride[1] == 2
            && stride[0] > 0
            && (1..=device::PAIR_STEPS_MAX).contains(&self.pair_steps())
            && (1..=device::STEPS_MAX).contains(&steps)
            && filter[0] + 2 * stride[0] <= device::RING_ROWS;
        let is_even =
            self.convolved.iter().all(|n| n.is_multiple_of(2)) && size[1].is_multiple_of(2);
        let elements = [
            self.images * channels * size[0] * size[1],
            self.output_len(),
            2 * (self.convolved[0] + 1) * (stride[0] + 1) + filter[0] + padding[0],
        ];
        let is_small = elements.iter().all(|&n| n <= i32::MAX as usize);
        is_filter && is_even && is_small && self.activation.code <= 1
    }

    /// Whether a pooling of the convolution's output is the one that the kernel does.
    #[must_use]
    pub fn is_pooled_by(&self, pool: &Pool) -> bool {
        let [top, left, ..] = pool.padding;
        pool.of == PoolOf::Max
            && pool.window == [3, 3]
            && pool.stride == [2, 2]
            && pool.dilation == [1, 1]
            && [top, left] == [1, 1]
            && pool.size == self.convolved
            && pool.output == self.pooled()
    }

    /// Rows and columns of the output.
    #[must_use]
    pub fn pooled(&self) -> [usize; 2] {
        self.convolved.map(|n| n / 2)
    }

    /// Elements of the output, `[images, rows, columns, channels]`.
    #[must_use]
    pub fn output_len(&self) -> usize {
        let [rows, columns] = self.pooled();
        self.images * rows * columns * self.outputs.next_multiple_of(8)
    }

    /// Multiplications and additions of numbers that are not padding, twice the
    /// multiplications.
    #[must_use]
    pub fn flops(&self) -> f64 {
        let Window { channels, filter, .. } = self.window;
        let pixels = (self.images * self.convolved[0] * self.convolved[1]) as f64;
        2.0 * pixels * (self.outputs * channels * filter[0] * filter[1]) as f64
    }

    fn is_odd(&self) -> bool {
        !self.window.padding[1].is_multiple_of(2)
    }

    /// Steps of two pairs of columns in a row of the filter.
    fn pair_steps(&self) -> usize {
        pair_steps(self.window.filter, self.is_odd())
    }

    /// Enqueues it and gives the output; the input is `[image, channel, row, column]`.
    ///
    /// ## Errors
    /// [`Error::Shape`] for what the kernel does not compute and for weights of another
    /// filter, [`Error::Length`], [`Error::Capability`] for a GPU below 9.0, what a
    /// launch refuses.
    pub fn run<T: First>(
        &self,
        stream: &Stream,
        weights: &StemWeights<T>,
        input: Slice<'_, f32>,
    ) -> Result<Buffer<T>> {
        super::check_device(stream)?;
        let Window { size, channels, filter, stride, padding, .. } = self.window;
        let is_packed = weights.filter == filter
            && weights.is_odd == self.is_odd()
            && (weights.channels, weights.outputs) == (channels, self.outputs);
        if !self.is_possible() || !is_packed {
            let why = format!("{self:?} is no first layer, or not that of these weights");
            return Err(Error::Shape { operation: OPERATION, why });
        }
        let (expected, found) = (self.images * channels * size[0] * size[1], input.len());
        if expected != found {
            return Err(Error::Length { operation: OPERATION, what: "input", expected, found });
        }
        let [rows, _] = self.pooled();
        let segments = (self.convolved[1].max(3) - 2).div_ceil(device::COLUMN_STEP);
        let channel_tiles = self.outputs.div_ceil(GROUP_CHANNELS);
        // Two blocks for each multiprocessor, if there are rows for them.
        let places = 2 * stream.device().multiprocessor_count() as usize;
        let all_rows = self.images * rows * segments * channel_tiles;
        let strips = rows.div_ceil(all_rows.div_ceil(places.max(1)).clamp(1, rows.max(1)));
        let strip_rows = rows.div_ceil(strips.max(1));
        let strips = rows.div_ceil(strip_rows.max(1));
        let pair = |pair: [usize; 2]| pair.map(|n| n as u32);
        let shape = device::Stem {
            size: pair(size),
            channels: channels as u32,
            filter_rows: filter[0] as u32,
            pair_steps: self.pair_steps() as u32,
            stride: stride[0] as u32,
            padding: [padding[0] as u32, padding[1].div_ceil(2) as u32],
            pooled: pair(self.pooled()),
            outputs: self.outputs.next_multiple_of(8) as u32,
            channel_tiles: channel_tiles as u32,
            segments: segments as u32,
            strip_rows: strip_rows as u32,
            strips: strips as u32,
            activation: self.activation,
        };
        let blocks = self.images * strips * segments * channel_tiles;
        // SAFETY: the kernel writes each element, if there is one.
        let mut out = unsafe { stream.uninitialized::<T>(self.output_len()) }?;
        if self.output_len() > 0 {
            T::launch(stream, blocks as u32, shape, input, weights, out.as_slice_mut())?;
        }
        Ok(out)
    }
}

fn pair_steps(filter: [usize; 2], is_odd: bool) -> usize {
    (filter[1] + usize::from(is_odd)).div_ceil(4)
}

impl<T: Half> StemWeights<T> {
    /// Packs filters `[outputs, channels, rows, columns]` and a bias for each output.
    ///
    /// ## Errors
    /// [`Error::Length`], a failed upload.
    pub fn pack(
        stream: &Stream,
        stem: &Stem,
        filters: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let Stem { window: Window { channels, filter, .. }, outputs, .. } = *stem;
        check_len(OPERATION, "weights", outputs * channels * filter[0] * filter[1], filters.len())?;
        if let Some(bias) = bias {
            check_len(OPERATION, "bias", outputs, bias.len())?;
        }
        let (is_odd, steps) = (stem.is_odd(), filter[0] * stem.pair_steps());
        let tiles = outputs.div_ceil(GROUP_CHANNELS);
        let mut packed = vec![T::ZERO; tiles * steps * device::STEP_BYTES / 2];
        for (at, &element) in filters.iter().enumerate() {
            let (rest, column) = (at / filter[1], at % filter[1] + usize::from(is_odd));
            let (rest, row) = (rest / filter[0], rest % filter[0]);
            let (output, channel) = (rest / channels, rest % channels);
            // A step is two pairs, each eight elements for all channels of a tile.
            let step = row * stem.pair_steps() + column / 4;
            let block = output / GROUP_CHANNELS * steps + step;
            let chunk = (2 * block + column / 2 % 2) * GROUP_CHANNELS + output % GROUP_CHANNELS;
            packed[chunk * 8 + column % 2 * 4 + channel] = T::from_f32(element);
        }
        let mut padded = vec![0f32; tiles * GROUP_CHANNELS];
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(bias);
        }
        let (packed, bias) = (stream.upload(&packed)?, stream.upload(&padded)?);
        Ok(Self { packed, bias, outputs, channels, filter, is_odd })
    }

    /// Bytes on the device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.packed.len() * size_of::<T>() + self.bias.len() * size_of::<f32>()
    }
}

/// An element type that the kernel exists for.
pub trait First: Half + DeviceType {
    #[doc(hidden)]
    fn launch(
        stream: &Stream,
        blocks: u32,
        shape: device::Stem,
        input: Slice<'_, f32>,
        weights: &StemWeights<Self>,
        out: SliceMut<'_, Self>,
    ) -> Result<()>;
}

macro_rules! first {
    ($($ty:ident),*) => { $(
        impl First for raddle::device::$ty {
            fn launch(
                stream: &Stream,
                blocks: u32,
                shape: device::Stem,
                input: Slice<'_, f32>,
                weights: &StemWeights<Self>,
                out: SliceMut<'_, Self>,
            ) -> Result<()> {
                let grid = Grid::new(blocks, device::THREADS)
                    .shared_bytes(device::SHARED_BYTES)
                    .programmatic();
                let (packed, bias) = (&weights.packed, &weights.bias);
                // SAFETY: lengths and numbers are checked against the shape.
                let call = unsafe { device::stem::<Self>(shape, input, packed, bias, out) };
                stream.launch(grid, call)?;
                Ok(())
            }
        }
    )* };
}
first!(f16, bf16);
