//! Pooling and changes of layout of images `[image, row, column, channel]`.

use raddle::device::{DeviceType, Float, VectorElement, bf16, f16};
use raddle::{Buffer, Grid, Slice, SliceMut, Stream};

use crate::error::check_len;
use crate::kernels::image as device;
use crate::kernels::image::Sliding;
use crate::{Error, Half, Result};

/// A window that slides over images, and what is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Images.
    pub images: usize,
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Channels in memory, a multiple of 8.
    pub channels: usize,
    /// Rows and columns of the output.
    pub output: [usize; 2],
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps along rows and columns.
    pub stride: [usize; 2],
    /// Rows above, columns left, rows below, columns right.
    pub padding: [usize; 4],
    /// Distance of the window's elements.
    pub dilation: [usize; 2],
    /// What is wanted.
    pub of: PoolOf,
}

/// What is wanted of a window's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolOf {
    /// The largest.
    Max,
    /// The mean of those in the image.
    Mean,
    /// The mean of those in the image and zeros of the padding.
    MeanWithPadding,
}

/// An element type that the kernels of this module exist for.
pub trait Pixel: Half + VectorElement<8> {
    #[doc(hidden)]
    fn pool(
        stream: &Stream,
        shape: Sliding,
        input: Slice<'_, Self>,
        out: &mut Buffer<Self>,
    ) -> Result<()>;
    #[doc(hidden)]
    fn mean(
        stream: &Stream,
        grid: Grid,
        pixels: u32,
        eighths: u32,
        input: Slice<'_, Self>,
        out: &mut Buffer<Self>,
    ) -> Result<()>;
}

/// An element type that images come in or go out as.
pub trait Exchange<T: Pixel>: Float + DeviceType {
    #[doc(hidden)]
    fn enter(
        stream: &Stream,
        numbers: [u32; 3],
        input: Slice<'_, Self>,
        out: &mut Buffer<T>,
    ) -> Result<()>;
    #[doc(hidden)]
    fn leave(
        stream: &Stream,
        numbers: [u32; 3],
        input: Slice<'_, T>,
        out: &mut Buffer<Self>,
    ) -> Result<()>;
}

macro_rules! pixels {
    ($($ty:ident),*) => { $(
        impl Pixel for $ty {
            fn pool(
                stream: &Stream,
                shape: Sliding,
                input: Slice<'_, Self>,
                out: &mut Buffer<Self>,
            ) -> Result<()> {
                let grid = Grid::cover(out.len() / 8, BLOCK).programmatic();
                stream.launch(grid, device::pool::<Self>(shape, input, out))?;
                Ok(())
            }

            fn mean(
                stream: &Stream,
                grid: Grid,
                pixels: u32,
                eighths: u32,
                input: Slice<'_, Self>,
                out: &mut Buffer<Self>,
            ) -> Result<()> {
                // A block has 64 channels, or all of an image with less.
                let chunk = (eighths as usize * 8).min(64);
                let out = out.chunks_mut(chunk);
                stream.launch(grid, device::mean::<Self>(pixels, eighths, input, out))?;
                Ok(())
            }
        }
        exchange!($ty, f32);
        exchange!($ty, $ty);
    )* };
}
macro_rules! exchange {
    ($pixel:ty, $other:ty) => {
        impl Exchange<$pixel> for $other {
            fn enter(
                stream: &Stream,
                [channels, pixels, quarters]: [u32; 3],
                input: Slice<'_, Self>,
                out: &mut Buffer<$pixel>,
            ) -> Result<()> {
                let grid = Grid::cover(out.len() / 4, BLOCK).programmatic();
                let call = device::to_channels_last::<Self, $pixel>(
                    channels, pixels, quarters, input, out,
                );
                stream.launch(grid, call)?;
                Ok(())
            }

            fn leave(
                stream: &Stream,
                [channels, pixels, pitch]: [u32; 3],
                input: Slice<'_, $pixel>,
                out: &mut Buffer<Self>,
            ) -> Result<()> {
                let grid = Grid::cover(out.len(), BLOCK).programmatic();
                let call =
                    device::to_channels_first::<$pixel, Self>(channels, pixels, pitch, input, out);
                stream.launch(grid, call)?;
                Ok(())
            }
        }
    };
}
pixels!(f16, bf16);

const BLOCK: u32 = 256;

/// Pools images.
///
/// ## Errors
/// [`Error::Length`], [`Error::Shape`], what a launch refuses.
pub fn pool<T: Pixel>(stream: &Stream, pool: &Pool, input: Slice<'_, T>) -> Result<Buffer<T>> {
    const OPERATION: &str = "pooling";
    let pixels = pool.images * pool.size[0] * pool.size[1];
    check_channels(OPERATION, pool.channels)?;
    check_len(OPERATION, "input", pixels * pool.channels, input.len())?;
    let len = pool.images * pool.output[0] * pool.output[1] * pool.channels;
    check_count(OPERATION, len.max(input.len()))?;
    let pair = |pair: [usize; 2]| pair.map(|n| n as i32);
    let shape = Sliding {
        size: pair(pool.size),
        output: pool.output.map(|n| n as u32),
        eighths: (pool.channels / 8) as u32,
        window: pair(pool.window),
        stride: pair(pool.stride),
        padding: pool.padding.map(|n| n as i32),
        dilation: pair(pool.dilation),
        is_max: u32::from(pool.of == PoolOf::Max),
        counts_padding: u32::from(pool.of == PoolOf::MeanWithPadding),
    };
    // SAFETY: each thread writes its elements.
    let mut out = unsafe { stream.uninitialized(len) }?;
    T::pool(stream, shape, input, &mut out)?;
    Ok(out)
}

/// The mean of each channel over the pixels of each image: `[image, channel]`.
///
/// ## Errors
/// As [`pool`].
pub fn mean<T: Pixel>(
    stream: &Stream,
    images: usize,
    pixels: usize,
    channels: usize,
    input: Slice<'_, T>,
) -> Result<Buffer<T>> {
    const OPERATION: &str = "the mean of images";
    check_channels(OPERATION, channels)?;
    check_len(OPERATION, "input", images * pixels * channels, input.len())?;
    check_count(OPERATION, input.len())?;
    if channels > 64 && !channels.is_multiple_of(64) {
        let why = format!("expected up to 64 channels or whole 64s, found {channels}");
        return Err(Error::Shape { operation: OPERATION, why });
    }
    // SAFETY: each block writes its channels.
    let mut out = unsafe { stream.uninitialized(images * channels) }?;
    let blocks = images * channels.div_ceil(64);
    if blocks > 0 {
        let grid = Grid::new(blocks as u32, device::MEAN_THREADS as u32).programmatic();
        T::mean(stream, grid, pixels as u32, (channels / 8) as u32, input, &mut out)?;
    }
    Ok(out)
}

/// Images `[image, channel, pixel]` with channels last, `pitch` of them in memory: 4 or a
/// multiple of 8, the further ones zero.
///
/// ## Errors
/// As [`pool`].
pub fn to_channels_last<S: Exchange<T>, T: Pixel>(
    stream: &Stream,
    images: usize,
    channels: usize,
    pixels: usize,
    pitch: usize,
    input: Slice<'_, S>,
) -> Result<Buffer<T>> {
    const OPERATION: &str = "channels last";
    if pitch < channels || !(pitch == 4 || pitch.is_multiple_of(8)) {
        let why = format!("expected room for {channels} channels in fours, found {pitch}");
        return Err(Error::Shape { operation: OPERATION, why });
    }
    check_len(OPERATION, "input", images * channels * pixels, input.len())?;
    check_count(OPERATION, images * pixels * pitch)?;
    // SAFETY: each thread writes its elements.
    let mut out = unsafe { stream.uninitialized(images * pixels * pitch) }?;
    let numbers = [channels, pixels, pitch / 4].map(|n| n as u32);
    S::enter(stream, numbers, input, &mut out)?;
    Ok(out)
}

/// The reverse of [`to_channels_last`].
///
/// ## Errors
/// As [`pool`].
pub fn to_channels_first<T: Pixel, S: Exchange<T>>(
    stream: &Stream,
    images: usize,
    channels: usize,
    pixels: usize,
    pitch: usize,
    input: Slice<'_, T>,
) -> Result<Buffer<S>> {
    const OPERATION: &str = "channels first";
    if pitch < channels {
        let why = format!("expected at least {channels} channels, found {pitch}");
        return Err(Error::Shape { operation: OPERATION, why });
    }
    check_len(OPERATION, "input", images * pixels * pitch, input.len())?;
    check_count(OPERATION, input.len())?;
    // SAFETY: each thread writes its elements.
    let mut out = unsafe { stream.uninitialized(images * channels * pixels) }?;
    S::leave(stream, [channels, pixels, pitch].map(|n| n as u32), input, &mut out)?;
    Ok(out)
}

/// Elements of the table of [`from_pixels`]: 256 for each of three channels.
pub const PIXEL_TABLE_LEN: usize = 3 * 256;

/// Writes pictures of `pixels` pixels as floats, channels first (`[image, 3, pixel]`) or
/// last. `input` has red, green and blue of each pixel in a byte each, and a byte becomes
/// `table[256 * channel + byte]`.
///
/// ## Errors
/// As [`pool`].
pub fn from_pixels(
    stream: &Stream,
    pixels: usize,
    is_channels_first: bool,
    table: Slice<'_, f32>,
    input: Slice<'_, u8>,
    out: SliceMut<'_, f32>,
) -> Result<()> {
    const OPERATION: &str = "floats of pixels";
    check_len(OPERATION, "table", PIXEL_TABLE_LEN, table.len())?;
    check_len(OPERATION, "output", input.len(), out.len())?;
    check_count(OPERATION, input.len())?;
    if pixels == 0 || !input.len().is_multiple_of(3 * pixels) {
        let why = format!("expected whole pictures of {pixels} pixels, found {}", input.len());
        return Err(Error::Shape { operation: OPERATION, why });
    }
    if out.is_empty() {
        return Ok(());
    }
    let grid = Grid::cover(out.len(), BLOCK).programmatic();
    let first = u32::from(is_channels_first);
    stream.launch(grid, device::from_pixels(pixels as u32, first, table, input, out))?;
    Ok(())
}

fn check_channels(operation: &'static str, channels: usize) -> Result<()> {
    if channels > 0 && channels.is_multiple_of(8) {
        return Ok(());
    }
    let why = format!("expected channels in eights, found {channels}");
    Err(Error::Shape { operation, why })
}

/// Kernels count elements in 31 bits.
fn check_count(operation: &'static str, elements: usize) -> Result<()> {
    if elements <= i32::MAX as usize {
        return Ok(());
    }
    let why = format!("{elements} elements are more than the kernel can count");
    Err(Error::Shape { operation, why })
}
