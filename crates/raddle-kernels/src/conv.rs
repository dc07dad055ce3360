//! Convolutions in two dimensions on Hopper's tensor cores.
//!
//! ```text
//! out[n, y, x, o] = act(sum w[o, c, i, j] * in[n, y * sy + i * dy - py, x * sx + j * dx - px, c] + bias[o] + residual[n, y, x, o])
//! ```
//!
//! Sums are in f32 and rounded once. A matrix product with constant weights is the
//! convolution of images of one pixel. See `kernels/conv.rs` for how it is computed.

mod stem;

use raddle::{Buffer, Grid, Slice, SliceMut, Stream};
use rayon::prelude::*;

use crate::gemm::{self, Ending};
use crate::kernels::conv as device;
use crate::kernels::conv::{Activation, GROUP_CHANNELS, Gather, Half, STEP, Shape};
use crate::kernels::conv::{shifted, walking};
use crate::{Error, Result};

pub use stem::{First, Stem, StemWeights};

/// A filter and the image it is moved over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns of the image.
    pub size: [usize; 2],
    /// Channels of the image in memory, a multiple of 8.
    pub channels: usize,
    /// Rows and columns of the filter.
    pub filter: [usize; 2],
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Rows of zeros above, columns of zeros left of the image. How many there are at
    /// the other ends follows from the size of the output.
    pub padding: [usize; 2],
    /// Distance of taps.
    pub dilation: [usize; 2],
}

impl Window {
    /// A matrix product: images of one pixel with `channels` channels.
    #[must_use]
    pub fn point(channels: usize) -> Self {
        let [size, filter, stride, dilation] = [[1; 2]; 4];
        Self { size, channels, filter, stride, padding: [0; 2], dilation }
    }

    /// What decides how weights for it lie: channels in memory, rows and columns of the
    /// filter. Weights that are packed for a window serve all of the same layout.
    #[must_use]
    pub fn layout(&self) -> (usize, [usize; 2]) {
        (self.channels, self.filter)
    }

    /// Steps of `k` that the filter takes.
    fn steps(&self) -> usize {
        (self.filter[0] * self.filter[1] * self.channels).div_ceil(STEP)
    }

    fn gather(&self) -> Gather {
        let pair = |pair: [usize; 2]| pair.map(|n| n as i32);
        Gather {
            size: pair(self.size),
            channels: self.channels as u32,
            filter_height: self.filter[0] as u32,
            filter_width: self.filter[1] as u32,
            taps: (self.filter[0] * self.filter[1]) as u32,
            stride: pair(self.stride),
            padding: pair(self.padding),
            dilation: pair(self.dilation),
            steps: self.steps() as u32,
        }
    }

    /// Numbers that the kernel can count with.
    fn check(&self, output: [usize; 2]) -> Result<()> {
        let bad = |why: String| Err(Error::Shape { operation: OPERATION, why });
        if self.channels == 0 || !self.channels.is_multiple_of(8) {
            return bad(format!("expected channels in eights, found {}", self.channels));
        }
        for (axis, &output) in output.iter().enumerate() {
            let reach = (output.max(1) - 1) * self.stride[axis]
                + self.filter[axis].max(1) * self.dilation[axis];
            let is_small = [reach, self.size[axis], self.padding[axis]]
                .iter()
                .all(|&n| n <= i16::MAX as usize / 2);
            let is_positive = self.stride[axis] > 0 && self.dilation[axis] > 0;
            if !is_small || !is_positive || self.filter[axis] == 0 {
                return bad(format!("the window {self:?} is out of the kernel's range"));
            }
        }
        Ok(())
    }
}

const OPERATION: &str = "convolution";
const UNBOUNDED: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// The weights of one input as a model has them.
#[derive(Clone, Copy, Debug)]
pub struct Filters<'a> {
    /// `[outputs, channels, rows, columns]`.
    pub elements: &'a [f32],
    /// Channels of the elements; at most the image's, whose further ones get zeros.
    pub channels: usize,
    /// The window.
    pub window: Window,
}

/// Weights and bias on the device, packed for the kernel.
#[derive(Debug)]
pub struct Weights<T: Half> {
    packed: Buffer<T>,
    bias: Buffer<f32>,
    outputs: usize,
    /// Channels in memory and filter of each input.
    layouts: [Option<Layout>; 2],
}

/// What of a window decides how weights lie: channels in memory, rows and columns.
type Layout = (usize, [usize; 2]);

impl<T: Half> Weights<T> {
    /// Packs the filters of an input, and of a shortcut's input whose convolution is
    /// added, with a bias for each of `outputs` channels.
    ///
    /// ## Errors
    /// [`Error::Length`], [`Error::Shape`], a failed upload.
    pub fn pack(
        stream: &Stream,
        outputs: usize,
        input: Filters<'_>,
        shortcut: Option<Filters<'_>>,
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        let blocks = outputs.div_ceil(GROUP_CHANNELS).next_multiple_of(2);
        let parts: Vec<Filters<'_>> = std::iter::once(input).chain(shortcut).collect();
        for part in &parts {
            let taps = part.window.filter[0] * part.window.filter[1];
            let expected = outputs * part.channels * taps;
            if part.elements.len() != expected || part.channels > part.window.channels {
                let (what, found) = ("weights", part.elements.len());
                return Err(Error::Length { operation: OPERATION, what, expected, found });
            }
        }
        let steps: usize = parts.iter().map(|part| part.window.steps()).sum();
        let mut packed = vec![T::ZERO; blocks * steps * STEP_LEN];
        packed.par_chunks_mut(STEP_LEN).enumerate().for_each(|(at, piece)| {
            let (block, mut step) = (at / steps, at % steps);
            for part in &parts {
                let own = part.window.steps();
                if step < own {
                    return pack_step(part, outputs, block, step, piece);
                }
                step -= own;
            }
        });
        let mut padded = vec![0f32; blocks * GROUP_CHANNELS];
        if let Some(bias) = bias {
            if bias.len() != outputs {
                let (what, expected, found) = ("bias", outputs, bias.len());
                return Err(Error::Length { operation: OPERATION, what, expected, found });
            }
            padded[..outputs].copy_from_slice(bias);
        }
        Ok(Self {
            packed: stream.upload(&packed)?,
            bias: stream.upload(&padded)?,
            outputs,
            layouts: [Some(input.window.layout()), shortcut.map(|part| part.window.layout())],
        })
    }

    /// Channels of the output in memory: those of the filters, rounded up to eights.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.outputs.next_multiple_of(8)
    }

    /// Bytes on the device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.packed.len() * size_of::<T>() + self.bias.len() * size_of::<f32>()
    }
}

/// Elements of 64 channels' weights in a step.
const STEP_LEN: usize = GROUP_CHANNELS * STEP;

/// Fills in 64 rows of 64 elements of `k`, swizzled as the tensor cores read them, where
/// there are such; `packed` has zeros.
fn pack_step<T: Half>(
    part: &Filters<'_>,
    outputs: usize,
    block: usize,
    step: usize,
    packed: &mut [T],
) {
    let taps = part.window.filter[0] * part.window.filter[1];
    for row in 0..GROUP_CHANNELS {
        let output = block * GROUP_CHANNELS + row;
        if output >= outputs {
            break;
        }
        for k in 0..STEP {
            let (tap, channel) = match part.window.channels.is_multiple_of(STEP) {
                true => (step % taps, step / taps * STEP + k),
                false => (
                    (step * STEP + k) / part.window.channels,
                    (step * STEP + k) % part.window.channels,
                ),
            };
            if tap < taps && channel < part.channels {
                let element = part.elements[(output * part.channels + channel) * taps + tap];
                let chunk = (k / 8) ^ (row % 8);
                packed[row * STEP + chunk * 8 + k % 8] = T::from_f32(element);
            }
        }
    }
}

/// Blocks that share a tile.
const SPLITS: [usize; 5] = [1, 2, 4, 8, device::parts::SPLIT_MAX];

/// A tile shape of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Tile {
    C64P64,
    C64P128,
    C64P256,
    C128P128,
    C128P208,
    C128P224,
    C128P256,
    /// 64 channels and 256 pixels, by blocks that walk over tiles and keep the weights.
    Walking,
    /// 256 channels and 128 pixels, by the kernel for large products: convolutions of
    /// single pixels only.
    Product,
}

impl Tile {
    /// All that are not for products alone.
    pub const ALL: [Self; 8] = [
        Self::C64P64,
        Self::C64P128,
        Self::C64P256,
        Self::C128P128,
        Self::C128P208,
        Self::C128P224,
        Self::C128P256,
        Self::Walking,
    ];

    /// Channels and pixels.
    #[must_use]
    pub fn size(self) -> [usize; 2] {
        match self {
            Self::C64P64 => [64, 64],
            Self::C64P128 => [64, 128],
            Self::C64P256 | Self::Walking => [64, 256],
            Self::C128P128 => [128, 128],
            Self::C128P208 => [128, 208],
            Self::C128P224 => [128, 224],
            Self::C128P256 => [128, 256],
            Self::Product => [gemm::TILE[1], gemm::TILE[0]],
        }
    }

    /// Positions that a tile of shifted pixels can have in shared memory.
    fn rows(self) -> usize {
        use device::shifted::{tile_64x64, tile_64x128, tile_64x256};
        use device::shifted::{tile_128x128, tile_128x208, tile_128x224, tile_128x256};
        match self {
            Self::C64P64 => tile_64x64::ROWS,
            Self::C64P128 => tile_64x128::ROWS,
            Self::C64P256 => tile_64x256::ROWS,
            Self::C128P128 => tile_128x128::ROWS,
            Self::C128P208 => tile_128x208::ROWS,
            Self::C128P224 => tile_128x224::ROWS,
            Self::C128P256 => tile_128x256::ROWS,
            Self::Walking => walking::tile_64x256::ROWS,
            Self::Product => 0,
        }
    }

    /// Whether the blocks of a cluster may share a tile.
    #[must_use]
    pub fn can_split(self) -> bool {
        let [channels, pixels] = self.size();
        let groups = channels / GROUP_CHANNELS;
        !matches!(self, Self::Walking | Self::Product) && device::parts::can_split(groups, pixels)
    }

    /// Blocks that a multiprocessor holds at a time.
    fn residents(self) -> usize {
        match self {
            Self::C64P64 | Self::C64P128 => 2,
            Self::C64P256
            | Self::C128P128
            | Self::C128P208
            | Self::C128P224
            | Self::C128P256
            | Self::Walking
            | Self::Product => 1,
        }
    }
}

/// Which kernel computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The tile shape.
    pub tile: Tile,
    /// Blocks that share a tile: 1, 2, 4, 8 or 16.
    pub split: usize,
    /// Whether taps shift one copy of the pixels instead of copying them anew.
    pub is_shifted: bool,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [channels, pixels] = self.tile.size();
        let method = match (self.tile, self.is_shifted) {
            (Tile::Walking, _) => "walking",
            (Tile::Product, _) => "product",
            (_, true) => "shifted",
            (_, false) => "gathered",
        };
        write!(f, "{method} {channels}x{pixels}")?;
        match self.split {
            1 => Ok(()),
            split => write!(f, " split {split}"),
        }
    }
}

/// A convolution of fixed shape, ready to be launched.
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    images: usize,
    output: [usize; 2],
    outputs: usize,
    windows: [Option<Window>; 2],
    activation: Activation,
    has_residual: bool,
    choice: Choice,
}

impl Convolution {
    /// The convolution of `images` images with an output of `output` rows and columns,
    /// with a window over the input and one over the shortcut's if the weights have one.
    /// `multiprocessors` are those of the device that it will run on.
    ///
    /// ## Errors
    /// [`Error::Shape`] for numbers that the kernel does not have, and for windows that
    /// the weights are not packed for.
    pub fn new<T: Half>(
        weights: &Weights<T>,
        windows: [Option<Window>; 2],
        images: usize,
        output: [usize; 2],
        activation: Activation,
        multiprocessors: usize,
    ) -> Result<Self> {
        let pixels = images * output[0] * output[1];
        if weights.layouts != windows.map(|window| window.map(|window| window.layout())) {
            let why = format!("the weights are packed for {:?}, not {windows:?}", weights.layouts);
            return Err(Error::Shape { operation: OPERATION, why });
        }
        for window in windows.iter().flatten() {
            window.check(output)?;
            let elements = images * window.size[0] * window.size[1] * window.channels;
            if elements.max(pixels * weights.channels()) > u32::MAX as usize {
                let why = format!("{elements} elements are more than the kernel can count");
                return Err(Error::Shape { operation: OPERATION, why });
            }
        }
        let steps = windows.iter().flatten().map(Window::steps).sum();
        let choice = choose(pixels, weights.outputs, steps, multiprocessors);
        let (outputs, has_residual) = (weights.outputs, false);
        Ok(Self { images, output, outputs, windows, activation, has_residual, choice })
    }

    /// The same with a residual to add, or without: another kernel may be the fastest.
    #[must_use]
    pub fn with_residual(self, has_residual: bool) -> Self {
        Self { has_residual, ..self }
    }

    /// The same with another kernel.
    #[must_use]
    pub fn with_choice(self, choice: Choice) -> Self {
        Self { choice, ..self }
    }

    /// Which kernel computes it.
    #[must_use]
    pub fn choice(&self) -> Choice {
        self.choice
    }

    /// A name of the convolution's numbers, for tables of choices: equal numbers have
    /// equal names.
    #[must_use]
    pub fn key(&self) -> String {
        let Self { images, output, outputs, windows, has_residual, activation, choice: _ } = self;
        let residual = if *has_residual { " + residual" } else { "" };
        // Not all kernels have the functions that are more than bounds.
        let function = if activation.bounds().is_some() { "" } else { " function" };
        format!("{images} {output:?} {outputs} {windows:?}{residual}{function}")
    }

    /// The kernels that are worth a measurement on a device of so many multiprocessors.
    pub fn candidates(&self, multiprocessors: usize) -> impl Iterator<Item = Choice> {
        let choices = Tile::ALL.into_iter().flat_map(|tile| {
            SPLITS.into_iter().flat_map(move |split| {
                [false, true].map(|is_shifted| Choice { tile, split, is_shifted })
            })
        });
        let product = Choice { tile: Tile::Product, split: 1, is_shifted: false };
        let choices = choices.chain([product]);
        choices.filter(move |choice| self.is_sensible(*choice, multiprocessors))
    }

    /// Whether a kernel may be worth a measurement: it leaves no more than half of the
    /// tile's channels empty, and fills the device without splitting more than needed.
    fn is_sensible(&self, choice: Choice, multiprocessors: usize) -> bool {
        let [channels, pixels] = choice.tile.size();
        let all_pixels = self.images * self.output[0] * self.output[1];
        let tiles = self.outputs.div_ceil(channels) * all_pixels.div_ceil(pixels);
        let steps: usize = self.windows.iter().flatten().map(Window::steps).sum();
        if !self.can_be(choice) {
            return false;
        }
        // Below that a cluster computes more zeros than pixels.
        let is_small = all_pixels < 2 * gemm::TILE[0] || self.outputs < gemm::TILE[1];
        if choice.tile == Tile::Product && is_small {
            return false;
        }
        // Larger tiles than the smallest are for more pixels: here they could not fill the
        // device even if four blocks shared each, and assembling a kernel takes long.
        if choice.tile != Tile::C64P64 && 4 * tiles < multiprocessors {
            return false;
        }
        // Blocks that have one tile each need not walk.
        if choice.tile == Tile::Walking && tiles <= multiprocessors {
            return false;
        }
        let fits = choice.split <= steps && (channels == 64 || self.outputs > 64);
        fits && (choice.split == 1 || tiles * choice.split <= 2 * multiprocessors)
    }

    /// Whether taps can shift pixels in tiles of this shape: steps of one, an output of
    /// the input's size, channels in 64s, no other taps in a shortcut, and rows that are
    /// not too long.
    #[must_use]
    pub fn can_be_shifted(&self, tile: Tile) -> bool {
        let [Some(first), second] = self.windows else { return false };
        let is_same = (0..2).all(|axis| {
            first.stride[axis] == 1
                && first.dilation[axis] == 1
                && first.filter[axis] == 2 * first.padding[axis] + 1
                && first.size[axis] == self.output[axis]
        });
        let has_slices = first.channels.is_multiple_of(STEP)
            && second.is_none_or(|second| {
                second.channels.is_multiple_of(STEP)
                    && second.filter == [1, 1]
                    && second.padding == [0, 0]
            });
        let around = first.padding[0] * (first.size[1] + first.padding[1]) + first.padding[1];
        is_same && has_slices && tile.size()[1] + 2 * around <= tile.rows()
    }

    /// Whether each pixel of the output is made of the input's pixel at its place alone.
    fn is_product(&self) -> bool {
        let [Some(window), None] = self.windows else { return false };
        let Window { size, filter, stride, padding, channels: _, dilation: _ } = window;
        size == self.output && filter == [1, 1] && stride == [1, 1] && padding == [0, 0]
    }

    /// Whether a kernel computes this convolution. Walking blocks have 64 channels, few taps,
    /// no shortcut, and all of `k` to themselves; tiles of 224 pixels are for images whose
    /// padding is computed.
    fn can_be(&self, choice: Choice) -> bool {
        let fits = !choice.is_shifted || self.can_be_shifted(choice.tile);
        let walks = match self.windows {
            [Some(Window { channels: STEP, filter, .. }), None] => {
                filter[0] * filter[1] <= walking::TAPS_MAX
            }
            _ => false,
        };
        let fits = fits && (choice.split == 1 || choice.tile.can_split());
        fits && match choice.tile {
            Tile::Walking => walks && choice.is_shifted && choice.split == 1,
            Tile::C128P224 => choice.is_shifted,
            Tile::Product => {
                let has_bounds = self.activation.bounds().is_some();
                self.is_product() && has_bounds && !choice.is_shifted && choice.split == 1
            }
            _ => true,
        }
    }

    /// Pixels that tiles are made of, the padding between included where it is computed.
    fn positions(&self, is_shifted: bool) -> usize {
        let padding = match self.windows[0] {
            Some(window) if is_shifted => window.padding,
            _ => [0; 2],
        };
        self.images * (self.output[0] + padding[0]) * (self.output[1] + padding[1])
    }

    /// Elements of the output.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.images * self.output[0] * self.output[1] * self.outputs.next_multiple_of(8)
    }

    /// Multiplications and additions of numbers that are not padding, twice the
    /// multiplications.
    #[must_use]
    pub fn flops(&self) -> f64 {
        let pixels = (self.images * self.output[0] * self.output[1]) as f64;
        let depth: usize =
            self.windows.iter().flatten().map(|w| w.filter[0] * w.filter[1] * w.channels).sum();
        2.0 * pixels * self.outputs as f64 * depth as f64
    }

    /// Enqueues it and gives the output, `[images, rows, columns, channels]`.
    ///
    /// ## Errors
    /// [`Error::Length`] for operands that do not fit, [`Error::Capability`] for a GPU
    /// below 9.0, what [`Stream::launch`] refuses.
    pub fn run<T: Tiled>(&self, stream: &Stream, operands: Operands<'_, T>) -> Result<Buffer<T>> {
        check_device(stream)?;
        self.check(&operands)?;
        let [channels, pixels] = self.choice.tile.size();
        if !self.can_be(self.choice) {
            let why = format!("{:?} cannot be computed {}", self.windows, self.choice);
            return Err(Error::Shape { operation: OPERATION, why });
        }
        let all_pixels = self.images * self.output[0] * self.output[1];
        let positions = self.positions(self.choice.is_shifted);
        let channel_tiles = self.outputs.div_ceil(channels);
        let nothing = Window { filter: [0; 2], ..Window::point(8) };
        let shape = Shape {
            inputs: self.windows.map(|window| window.unwrap_or(nothing).gather()),
            width: self.output[1] as u32,
            image_pixels: (self.output[0] * self.output[1]) as u32,
            pixels: all_pixels as u32,
            channels: self.outputs.next_multiple_of(8) as u32,
            channel_tiles: channel_tiles as u32,
            split: self.choice.split as u32,
            has_residual: u32::from(operands.residual.is_some()),
            activation: self.activation,
        };
        let tiles = match self.choice.tile {
            Tile::Walking => {
                let multiprocessors = stream.device().multiprocessor_count() as usize;
                positions.div_ceil(pixels).min((multiprocessors / channel_tiles.max(1)).max(1))
            }
            _ => positions.div_ceil(pixels),
        };
        let blocks = channel_tiles * tiles * self.choice.split;
        // SAFETY: the kernel writes each element, if there is one.
        let mut out = unsafe { stream.uninitialized::<T>(self.output_len()) }?;
        if self.output_len() > 0 {
            T::launch(stream, self.choice, blocks as u32, shape, operands, out.as_slice_mut())?;
        }
        Ok(out)
    }

    fn check<T: Half>(&self, operands: &Operands<'_, T>) -> Result<()> {
        let weights = operands.weights;
        let layouts = self.windows.map(|window| window.map(|window| window.layout()));
        if weights.layouts != layouts || weights.outputs != self.outputs {
            let why = "the weights are those of another convolution".to_owned();
            return Err(Error::Shape { operation: OPERATION, why });
        }
        let image =
            |window: &Window| self.images * window.size[0] * window.size[1] * window.channels;
        let length = |what, expected, found| match expected == found {
            true => Ok(()),
            false => Err(Error::Length { operation: OPERATION, what, expected, found }),
        };
        let first = self.windows[0].as_ref().map_or(0, image);
        length("input", first, operands.input.len())?;
        let second = self.windows[1].as_ref().map_or(0, image);
        length("shortcut", second, operands.shortcut.map_or(0, |slice| slice.len()))?;
        if let Some(residual) = operands.residual {
            length("residual", self.output_len(), residual.len())?;
        }
        Ok(())
    }
}

/// Positions of a tile with those around, where taps shift pixels.
fn positions_around(shape: &Shape, tile: Tile) -> usize {
    let Gather { size, padding, .. } = shape.inputs[0];
    let before = padding[0] * (size[1] + padding[1]) + padding[1];
    tile.size()[1] + 2 * before as usize
}

/// The kernels have instructions that only one generation of GPUs has.
fn check_device(stream: &Stream) -> Result<()> {
    let device = stream.device();
    if device.compute_capability().is_some_and(|(major, _)| major != 9) {
        let (needed, device) = ("9.0", device.to_string());
        return Err(Error::Capability { operation: OPERATION, needed, device });
    }
    Ok(())
}

/// What a convolution reads.
pub struct Operands<'a, T: Half> {
    /// `[images, rows, columns, channels]`.
    pub input: Slice<'a, T>,
    /// The shortcut's input, if the weights have one.
    pub shortcut: Option<Slice<'a, T>>,
    /// The weights.
    pub weights: &'a Weights<T>,
    /// Added before the activation; of the output's shape.
    pub residual: Option<Slice<'a, T>>,
}

/// Picks the kernel that is expected to be fastest, among those that gather.
///
/// A block's time is a fixed part and one for each step of `k`; blocks run in waves.
/// The constants are estimates in cycles, for those who do not measure: on an H200 the
/// choice is up to twice as slow as the best of [`Convolution::candidates`].
fn choose(pixels: usize, outputs: usize, steps: usize, multiprocessors: usize) -> Choice {
    let plain = Choice { tile: Tile::C64P64, split: 1, is_shifted: false };
    let mut best = (f64::INFINITY, plain);
    let is_gathered = |tile: &Tile| !matches!(tile, Tile::Walking | Tile::C128P224);
    for tile in Tile::ALL.into_iter().filter(is_gathered) {
        for split in SPLITS {
            if split > 1 && (split > steps || !tile.can_split()) {
                continue;
            }
            let time = expected_cycles(tile, split, pixels, outputs, steps, multiprocessors);
            if time < best.0 {
                best = (time, Choice { tile, split, is_shifted: false });
            }
        }
    }
    best.1
}

fn expected_cycles(
    tile: Tile,
    split: usize,
    pixels: usize,
    outputs: usize,
    steps: usize,
    multiprocessors: usize,
) -> f64 {
    let [tile_channels, tile_pixels] = tile.size();
    let blocks = outputs.div_ceil(tile_channels) * pixels.div_ceil(tile_pixels) * split;
    // A product of 64 channels and 64 pixels takes 128 cycles for a step of 64.
    let product = (tile_channels * tile_pixels) as f64 / 32.0;
    // Narrow tiles read shared memory more often for each product.
    let narrow = if tile_channels == 64 { 1.35 } else { 1.1 };
    let own_steps = steps.div_ceil(split) as f64;
    let staged = (tile_channels * tile_pixels) as f64 / 8.0;
    let fixed = 1500.0 + staged + if split > 1 { 700.0 + 40.0 * split as f64 } else { 0.0 };
    let residents = tile.residents().min(blocks.div_ceil(multiprocessors)).max(1);
    let waves = blocks.div_ceil(multiprocessors * residents) as f64;
    // Residents share the tensor cores and hide each other's fixed part.
    waves * (fixed + own_steps * product * narrow * residents as f64)
}

/// An element type that the kernels exist for.
pub trait Tiled: gemm::Element {
    #[doc(hidden)]
    fn launch(
        stream: &Stream,
        choice: Choice,
        blocks: u32,
        shape: Shape,
        operands: Operands<'_, Self>,
        out: SliceMut<'_, Self>,
    ) -> Result<()>;
}

macro_rules! tiled {
    ($($ty:ident),*) => { $(
        impl Tiled for raddle::device::$ty {
            fn launch(
                stream: &Stream,
                choice: Choice,
                blocks: u32,
                shape: Shape,
                operands: Operands<'_, Self>,
                out: SliceMut<'_, Self>,
            ) -> Result<()> {
                let Operands { input, shortcut, weights, residual } = operands;
                // Operands that there are none of are never read.
                let (shortcut, residual) = (shortcut.unwrap_or(input), residual.unwrap_or(input));
                let (packed, bias) = (&weights.packed, &weights.bias);
                let is_split = choice.split > 1;
                let around = positions_around(&shape, choice.tile);
                macro_rules! launch {
                    ($module:ident, $name:ident, $tile:ident, $shared_bytes:expr) => {{
                        let mut grid = Grid::new(blocks, $module::$tile::THREADS)
                            .shared_bytes($shared_bytes)
                            .programmatic();
                        if is_split {
                            grid = grid.cluster(choice.split as u32);
                        }
                        // SAFETY: lengths are checked against the shape.
                        let call = unsafe {
                            $module::$name::<Self>(shape, input, shortcut, packed, bias, residual, out)
                        };
                        stream.launch(grid, call)?;
                    }};
                }
                macro_rules! gathered {
                    ($name:ident, $tile:ident) => {
                        launch!(device, $name, $tile, device::$tile::shared_bytes(is_split))
                    };
                }
                macro_rules! shifted {
                    ($name:ident, $tile:ident) => {
                        launch!(shifted, $name, $tile, shifted::$tile::shared_bytes(around, is_split))
                    };
                }
                match (choice.tile, choice.is_shifted) {
                    (Tile::C64P64, false) => gathered!(conv_64x64, tile_64x64),
                    (Tile::C64P128, false) => gathered!(conv_64x128, tile_64x128),
                    (Tile::C64P256, false) => gathered!(conv_64x256, tile_64x256),
                    (Tile::C128P128, false) => gathered!(conv_128x128, tile_128x128),
                    (Tile::C128P208, false) => gathered!(conv_128x208, tile_128x208),
                    (Tile::C128P256, false) => gathered!(conv_128x256, tile_128x256),
                    (Tile::C64P64, true) => shifted!(shifted_64x64, tile_64x64),
                    (Tile::C64P128, true) => shifted!(shifted_64x128, tile_64x128),
                    (Tile::C64P256, true) => shifted!(shifted_64x256, tile_64x256),
                    (Tile::C128P128, true) => shifted!(shifted_128x128, tile_128x128),
                    (Tile::C128P208, true) => shifted!(shifted_128x208, tile_128x208),
                    (Tile::C128P224, _) => shifted!(shifted_128x224, tile_128x224),
                    (Tile::C128P256, true) => shifted!(shifted_128x256, tile_128x256),
                    (Tile::Walking, _) => {
                        let bytes = walking::tile_64x256::SHARED_BYTES;
                        launch!(walking, walking_64x256, tile_64x256, bytes)
                    },
                    (Tile::Product, _) => {
                        let k = shape.inputs[0].channels as usize;
                        let numbers = [shape.pixels as usize, shape.channels as usize, k];
                        let bias = Some(bias.as_slice());
                        let residual = (shape.has_residual != 0).then_some(residual);
                        let bounds = shape.activation.bounds().unwrap_or(UNBOUNDED);
                        let ending = Ending { bias, residual, bounds };
                        gemm::packed(stream, numbers, input, packed.as_slice(), ending, out)?;
                    }
                }
                Ok(())
            }
        }
    )* };
}
tiled!(f16, bf16);
