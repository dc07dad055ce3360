//! Kernels on images `[image, row, column, channel]`: pooling, and conversion from and
//! to `[image, channel, row, column]`. A thread has eight channels of a pixel, so that
//! it moves 16 bytes at a time.

use raddle::prelude::*;

use super::conv::Half;

/// A window that slides over images.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, DeviceType)]
pub struct Sliding {
    /// Rows and columns of an image.
    pub size: [i32; 2],
    /// Rows and columns of the output.
    pub output: [u32; 2],
    /// Channels in eights.
    pub eighths: u32,
    /// Rows and columns of the window.
    pub window: [i32; 2],
    /// Steps along rows and columns.
    pub stride: [i32; 2],
    /// Rows above and columns left of the image, rows below and columns right of it.
    pub padding: [i32; 4],
    /// Distance of the window's elements.
    pub dilation: [i32; 2],
    /// Whether the largest element is wanted and not the mean.
    pub is_max: u32,
    /// Whether the mean counts elements of the padding, as zeros.
    pub counts_padding: u32,
}

/// The largest element or the mean of each window's elements in the image. A window
/// without any gives negative infinity or zero; a NaN gives NaN.
#[kernel(block = 256, arch = 90, instances(f16, bf16))]
pub fn pool<T: Half + VectorElement<8>>(
    shape: Sliding,
    input: &[T],
    mut out: PerThreadChunks<T, 8>,
) {
    allow_next_kernel();
    wait_for_previous_kernel();
    let Some(input) = as_vectors::<T, 8>(input) else { return };
    for (index, out) in out.iter_mut() {
        let (pixel, eighth) = (index as u32 / shape.eighths, index as u32 % shape.eighths);
        let (row, column) = (pixel / shape.output[1], pixel % shape.output[1]);
        let (image, row) = (row / shape.output[0], row % shape.output[0]);
        let top = row as i32 * shape.stride[0] - shape.padding[0];
        let left = column as i32 * shape.stride[1] - shape.padding[1];
        let is_max = shape.is_max != 0;
        let mut sums = [if is_max { f32::NEG_INFINITY } else { 0.0 }; 8];
        let mut count = 0u32;
        for i in 0..shape.window[0] {
            for j in 0..shape.window[1] {
                let (y, x) = (top + i * shape.dilation[0], left + j * shape.dilation[1]);
                // Behind the padding there is nothing to count.
                let is_padded =
                    y < shape.size[0] + shape.padding[2] && x < shape.size[1] + shape.padding[3];
                let is_inside = y >= 0 && x >= 0 && y < shape.size[0] && x < shape.size[1];
                count += u32::from(is_inside || is_padded && shape.counts_padding != 0);
                if is_inside {
                    let pixel = (image as i32 * shape.size[0] + y) * shape.size[1] + x;
                    let elements = input[pixel as usize * shape.eighths as usize + eighth as usize];
                    unroll::<8>(|k| {
                        let element = elements[k].to_f32();
                        let is_more = element > sums[k] || element.is_nan();
                        sums[k] = match is_max {
                            true if is_more => element,
                            true => sums[k],
                            false => sums[k] + element,
                        };
                    });
                }
            }
        }
        let scale = if is_max { 1.0 } else { 1.0 / count.max(1) as f32 };
        *out = sums.map(|sum| T::from_f32(sum * scale));
    }
}

/// Threads of a block of [`mean`]: eight neighbours have 64 channels of one pixel.
pub const MEAN_THREADS: usize = 256;

/// The mean of each channel of each image. A block has 64 channels of one image, each
/// thread every 32nd pixel.
#[kernel(block = MEAN_THREADS as u32, arch = 90, instances(f16, bf16))]
pub fn mean<T: Half + VectorElement<8>>(
    pixels: u32,
    eighths: u32,
    input: &[T],
    mut out: PerBlock<T, 1>,
) {
    allow_next_kernel();
    wait_for_previous_kernel();
    let Some(input) = as_vectors::<T, 8>(input) else { return };
    let (lane, first) = (thread_x() % 8, thread_x() / 8);
    let mut parts = shared!([[f32; 8]; MEAN_THREADS]);
    for (index, mut chunk) in out.iter_mut() {
        let per_image = eighths.div_ceil(8);
        let (image, part) = (index as u32 / per_image, index as u32 % per_image);
        let eighth = part * 8 + lane;
        let mut sums = [0.0f32; 8];
        if eighth < eighths {
            for pixel in (first..pixels).step_by(MEAN_THREADS / 8) {
                let at = (image as usize * pixels as usize + pixel as usize) * eighths as usize;
                let elements = input[at + eighth as usize];
                unroll::<8>(|k| sums[k] += elements[k].to_f32());
            }
        }
        let all = parts.gather(sums);
        for (channel, out) in chunk.iter_mut() {
            let (lane, k) = (channel / 8, channel % 8);
            let mut sum = 0.0;
            for row in 0..MEAN_THREADS / 8 {
                sum += all[row * 8 + lane][k];
            }
            *out = [T::from_f32(sum / pixels as f32)];
        }
    }
}

/// Images with channels last: four channels of a pixel to each thread. Channels that
/// `input` has not are zero.
#[kernel(block = 256, arch = 90, instances((f32, f16), (f16, f16), (f32, bf16), (bf16, bf16)))]
pub fn to_channels_last<S: Float + DeviceType, T: Half>(
    channels: u32,
    pixels: u32,
    quarters: u32,
    input: &[S],
    mut out: PerThreadChunks<T, 4>,
) {
    allow_next_kernel();
    wait_for_previous_kernel();
    for (index, out) in out.iter_mut() {
        let (pixel, quarter) = (index as u32 / quarters, index as u32 % quarters);
        let (image, pixel) = (pixel / pixels, pixel % pixels);
        *out = unrolled(|k| {
            let channel = quarter * 4 + k as u32;
            if channel >= channels {
                return T::ZERO;
            }
            let at = (image as usize * channels as usize + channel as usize) * pixels as usize;
            T::from_f32(input[at + pixel as usize].to_f32())
        });
    }
}

/// Images with channels first, one element to each thread. `pitch` is the channels of
/// `input` in memory, of which the first `channels` are taken.
#[kernel(block = 256, arch = 90, instances((f16, f32), (f16, f16), (bf16, f32), (bf16, bf16)))]
pub fn to_channels_first<S: Half, T: Float + DeviceType>(
    channels: u32,
    pixels: u32,
    pitch: u32,
    input: &[S],
    mut out: PerThread<T>,
) {
    allow_next_kernel();
    wait_for_previous_kernel();
    for (index, out) in out.iter_mut() {
        let (plane, pixel) = (index as u32 / pixels, index as u32 % pixels);
        let (image, channel) = (plane / channels, plane % channels);
        let at = (image as usize * pixels as usize + pixel as usize) * pitch as usize;
        *out = T::from_f32(input[at + channel as usize].to_f32());
    }
}

/// Bytes of red, green and blue, pixel by pixel, as floats: `table[256 * channel + byte]`.
/// One element to each thread, with channels first or last.
#[kernel(block = 256, arch = 90)]
pub fn from_pixels(
    pixels: u32,
    is_channels_first: u32,
    table: &[f32],
    input: &[u8],
    mut out: PerThread<f32>,
) {
    allow_next_kernel();
    wait_for_previous_kernel();
    for (index, out) in out.iter_mut() {
        let index = index as u32;
        let (pixel, channel) = match is_channels_first {
            0 => (index / 3, index % 3),
            _ => {
                let (plane, pixel) = (index / pixels, index % pixels);
                (plane / 3 * pixels + pixel, plane % 3)
            }
        };
        let byte = input[pixel as usize * 3 + channel as usize];
        *out = table[channel as usize * 256 + byte as usize];
    }
}
