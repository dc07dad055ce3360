//! Values on the device while steps are lowered.

use std::sync::Arc;

use raddle::Buffer;
use raddle::device::{Zeroable, bf16, f16};
use raddle_kernels::conv::{First, Tiled};
use raddle_kernels::grouped::Element;
use raddle_kernels::head::Headed;
use raddle_kernels::image::Pixel;

/// A float of 16 bits that a model is computed in.
pub trait Half: Tiled + First + Headed + Pixel + Element + Zeroable {
    /// Elements that come in as `f32`, with channels last.
    fn channels_last(
        stream: &raddle::Stream,
        numbers: [usize; 4],
        input: &Buffer<f32>,
    ) -> raddle_kernels::Result<Buffer<Self>>;
    /// Elements that go out as `f32`, with channels first.
    fn channels_first(
        stream: &raddle::Stream,
        numbers: [usize; 4],
        input: &Buffer<Self>,
    ) -> raddle_kernels::Result<Buffer<f32>>;
}

macro_rules! halves {
    ($($ty:ident),*) => { $(
        impl Half for $ty {
            fn channels_last(
                stream: &raddle::Stream,
                [images, channels, pixels, pitch]: [usize; 4],
                input: &Buffer<f32>,
            ) -> raddle_kernels::Result<Buffer<Self>> {
                let input = input.as_slice();
                raddle_kernels::image::to_channels_last(stream, images, channels, pixels, pitch, input)
            }

            fn channels_first(
                stream: &raddle::Stream,
                [images, channels, pixels, pitch]: [usize; 4],
                input: &Buffer<Self>,
            ) -> raddle_kernels::Result<Buffer<f32>> {
                let input = input.as_slice();
                raddle_kernels::image::to_channels_first(stream, images, channels, pixels, pitch, input)
            }
        }
    )* };
}
halves!(f16, bf16);

/// Images with channels last.
#[derive(Clone, Debug)]
pub struct Image<T: Half> {
    /// Images, channels, rows, columns.
    pub shape: [usize; 4],
    /// Channels in memory.
    pub pitch: usize,
    /// The elements, shared by values that only differ in shape.
    pub elements: Arc<Buffer<T>>,
}

impl<T: Half> Image<T> {
    /// Pixels of an image.
    pub fn pixels(&self) -> usize {
        self.shape[2] * self.shape[3]
    }
}
