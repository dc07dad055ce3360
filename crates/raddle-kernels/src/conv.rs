//! Convolutions in two dimensions on Hopper's tensor cores.
//!
//! ```text
//! out[n, y, x, o] = act(sum w[o, c, i, j] * in[n, y * sy + i * dy - py, x * sx + j * dx - px, c] + bias[o] + residual[n, y, x, o])
//! ```
//!
//! Sums are in f32 and rounded once. A matrix product with constant weights is the
//! convolution of images of one pixel. See `kernels/conv.rs` for how it is computed.

mod choice;
mod launch;
mod stem;
mod weights;

use raddle::{Buffer, Slice, Stream};

use crate::error::check_len;
use crate::gemm;
use crate::kernels::conv::{Activation, Gather, Half, STEP, Shape, walking};
use crate::{Error, Result};

use choice::{SPLITS, choose};

pub use choice::{Choice, SPLIT_PORTABLE, Tile};
pub use launch::Tiled;
pub use stem::{First, Stem, StemWeights};
pub use weights::{Filters, Weights};

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
        let first = self.windows[0].as_ref().map_or(0, image);
        check_len(OPERATION, "input", first, operands.input.len())?;
        let second = self.windows[1].as_ref().map_or(0, image);
        check_len(OPERATION, "shortcut", second, operands.shortcut.map_or(0, |slice| slice.len()))?;
        if let Some(residual) = operands.residual {
            check_len(OPERATION, "residual", self.output_len(), residual.len())?;
        }
        Ok(())
    }
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
