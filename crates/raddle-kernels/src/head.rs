//! The end of a classifier: the mean over an image's pixels and a product with constant
//! weights behind it, in one launch for few images.

use raddle::device::DeviceType;
use raddle::{Buffer, Grid, Slice, Stream};

use crate::error::check_len;
use crate::kernels::head as device;
use crate::{Activation, Error, Half, Result};

const OPERATION: &str = "a classifier's end";

/// The weights of a product `[outputs, channels]` and a bias for each output, on the
/// device.
#[derive(Debug)]
pub struct HeadWeights<T: Half> {
    weights: Buffer<T>,
    bias: Buffer<f32>,
    outputs: usize,
    /// Channels in memory, those of the image.
    pitch: usize,
}

impl<T: Half> HeadWeights<T> {
    /// Whether the kernel computes so many outputs from images of so many channels in
    /// memory.
    #[must_use]
    pub fn is_possible(outputs: usize, pitch: usize) -> bool {
        outputs.is_multiple_of(device::OUTPUTS)
            && pitch.is_multiple_of(8)
            && pitch > 0
            && pitch <= device::CHANNELS_MAX
    }

    /// Uploads weights `[outputs, channels]` for images with `pitch` channels in memory.
    ///
    /// ## Errors
    /// [`Error::Shape`] for what the kernel does not compute, [`Error::Length`], a failed
    /// upload.
    pub fn pack(
        stream: &Stream,
        [outputs, channels, pitch]: [usize; 3],
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self> {
        if !Self::is_possible(outputs, pitch) || channels > pitch {
            let why = format!(
                "expected outputs in eights and at most {} channels in eights, found {outputs} \
                 outputs of {channels} channels, {pitch} in memory",
                device::CHANNELS_MAX
            );
            return Err(Error::Shape { operation: OPERATION, why });
        }
        check_len(OPERATION, "weights", outputs * channels, weights.len())?;
        if let Some(bias) = bias {
            check_len(OPERATION, "bias", outputs, bias.len())?;
        }
        let mut padded = vec![T::ZERO; outputs * pitch];
        for (row, from) in padded.chunks_mut(pitch).zip(weights.chunks(channels.max(1))) {
            row.iter_mut().zip(from).for_each(|(to, &from)| *to = T::from_f32(from));
        }
        let nothing = vec![0.0; outputs];
        let bias = stream.upload(bias.unwrap_or(&nothing))?;
        Ok(Self { weights: stream.upload(&padded)?, bias, outputs, pitch })
    }

    /// Bytes on the device.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weights.len() * size_of::<T>() + self.bias.len() * size_of::<f32>()
    }
}

/// Whether one launch is the better way: each block reads all of an image, which costs
/// more than it saves once there are more than a few.
#[must_use]
pub fn is_worth_it(images: usize) -> bool {
    images <= 2
}

/// `[images, outputs]` of images `[image, pixel, channel]`.
///
/// ## Errors
/// [`Error::Length`], [`Error::Shape`], what a launch refuses.
pub fn head<T: Headed>(
    stream: &Stream,
    [images, pixels]: [usize; 2],
    weights: &HeadWeights<T>,
    input: Slice<'_, T>,
    activation: Activation,
) -> Result<Buffer<f32>> {
    check_len(OPERATION, "input", images * pixels * weights.pitch, input.len())?;
    let count = input.len().max(images * weights.outputs);
    if u32::try_from(count).is_err() {
        let why = format!("{count} elements are more than the kernel can count");
        return Err(Error::Shape { operation: OPERATION, why });
    }
    // SAFETY: each block writes its outputs.
    let mut out = unsafe { stream.uninitialized(images * weights.outputs) }?;
    let blocks = images * weights.outputs / device::OUTPUTS;
    if blocks > 0 {
        let shape = device::Head {
            pixels: pixels as u32,
            eighths: (weights.pitch / 8) as u32,
            output_eighths: (weights.outputs / device::OUTPUTS) as u32,
            activation,
        };
        let grid = Grid::new(blocks as u32, device::THREADS as u32).programmatic();
        T::launch(stream, grid, shape, input, weights, &mut out)?;
    }
    Ok(out)
}

/// An element type that the kernel exists for.
pub trait Headed: Half + DeviceType {
    #[doc(hidden)]
    fn launch(
        stream: &Stream,
        grid: Grid,
        shape: device::Head,
        input: Slice<'_, Self>,
        weights: &HeadWeights<Self>,
        out: &mut Buffer<f32>,
    ) -> Result<()>;
}

macro_rules! headed {
    ($($ty:ident),*) => { $(
        impl Headed for raddle::device::$ty {
            fn launch(
                stream: &Stream,
                grid: Grid,
                shape: device::Head,
                input: Slice<'_, Self>,
                weights: &HeadWeights<Self>,
                out: &mut Buffer<f32>,
            ) -> Result<()> {
                let out = out.chunks_mut(device::OUTPUTS);
                let (weights, bias) = (&weights.weights, &weights.bias);
                stream.launch(grid, device::head::<Self>(shape, input, weights, bias, out))?;
                Ok(())
            }
        }
    )* };
}
headed!(f16, bf16);
