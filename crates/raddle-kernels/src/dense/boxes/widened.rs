//! Convolutions of few channels.

use raddle::{Grid, Slice, Stream};

use super::{Channels, OPERATION, SPACE_MAX, STEP, Scalar, Sliding, Words, output};
use crate::kernels::tiled::turn::{self, Wide};
use crate::{Error, Result};

/// A convolution of few channels as one along columns only, whose channels are those of the
/// columns of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Widened {
    /// The convolution of the rows of windows that [`widen`](Self::widen) makes.
    pub shape: Sliding,
    /// Its channels.
    pub channels: Channels,
    wide: Wide,
    /// Rows of the window.
    height: usize,
}

impl Widened {
    /// What a convolution becomes whose channels and columns of a window fit in a step;
    /// [`has_boxes`](super::has_boxes) says whether there is a kernel for it.
    #[must_use]
    pub fn new(shape: Sliding, channels: Channels) -> Option<Self> {
        let (y, x) = (SPACE_MAX - 2, SPACE_MAX - 1);
        let pixels = shape.output[y] * shape.output[x];
        let images = shape.len.checked_div(channels.groups * channels.outputs * pixels)?;
        let is_fit = channels.groups == 1 && channels.inputs <= 4 && shape.window[x] <= 8;
        if !is_fit || channels.is_transposed != 0 {
            return None;
        }
        let wide = Wide {
            lines: images * shape.input[y],
            size: [shape.input[y], shape.input[x]],
            channels: channels.inputs,
            windows: shape.output[x],
            steps: [shape.strides[x], shape.dilations[x]],
            begin: shape.begins[x],
            width: shape.window[x],
        };
        let mut own = shape;
        (own.input[x], own.window[x], own.strides[x], own.dilations[x]) =
            (shape.output[x], 1, 1, 1);
        (own.begins[x], own.ends[x]) = (0, 0);
        let channels = Channels { inputs: STEP as u32, ..channels };
        Some(Self { shape: own, channels, wide, height: shape.window[y] as usize })
    }

    /// The rows of windows of `[image, channel, row, column]`.
    ///
    /// ## Errors
    /// [`Error::Length`] for an input that is too short, [`Error::Shape`] for more elements
    /// than kernels count; what a launch refuses.
    pub fn widen(&self, stream: &Stream, input: Slice<'_, u64>) -> Result<Words> {
        let (operation, wide) = ("windows side by side", self.wide);
        let input = input.reinterpret::<f32>()?;
        let [lines, windows] = [wide.lines as usize, wide.windows as usize];
        let expected = lines * wide.size[1] as usize * wide.channels as usize;
        let len = lines * windows * STEP;
        if input.len() < expected {
            let found = input.len();
            return Err(Error::Length { operation, what: "input", expected, found });
        }
        if len > i32::MAX as usize {
            let why = format!("{lines} rows of {windows} windows are more than kernels count");
            return Err(Error::Shape { operation, why });
        }
        let mut out = output(stream, Scalar::F32, len as u32)?;
        let elements = out.as_slice_mut().reinterpret_mut::<f32>()?;
        stream.launch(Grid::cover(len / 4, turn::THREADS), turn::widen(wide, input, elements))?;
        Ok(out)
    }

    /// The weights `[output, channel, row, column]` as the kernels have them.
    ///
    /// ## Errors
    /// [`Error::Length`] for a wrong number of weights.
    pub fn pack(&self, weights: &[f32]) -> Result<Vec<f32>> {
        let (channels, width) = (self.wide.channels as usize, self.wide.width as usize);
        let outputs = self.channels.outputs as usize;
        let expected = outputs * channels * self.height * width;
        if weights.len() != expected {
            let (operation, what, found) = (OPERATION, "weights", weights.len());
            return Err(Error::Length { operation, what, expected, found });
        }
        let mut packed = vec![0.0; outputs * self.height * STEP];
        for (at, &weight) in weights.iter().enumerate() {
            let (column, row) = (at % width, at / width % self.height);
            let (channel, output) =
                (at / (width * self.height) % channels, at / (width * self.height * channels));
            packed[(output * self.height + row) * STEP + 4 * column + channel] = weight;
        }
        Ok(packed)
    }
}
