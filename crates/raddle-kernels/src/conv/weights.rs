//! Weights of convolutions, packed as the kernels read them.

use raddle::{Buffer, Stream};
use rayon::prelude::*;

use super::{OPERATION, Window};
use crate::error::check_len;
use crate::kernels::conv::{GROUP_CHANNELS, Half, STEP};
use crate::{Error, Result};

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
    pub(super) packed: Buffer<T>,
    pub(super) bias: Buffer<f32>,
    pub(super) outputs: usize,
    /// Channels in memory and filter of each input.
    pub(super) layouts: [Option<Layout>; 2],
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
            check_len(OPERATION, "bias", outputs, bias.len())?;
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
